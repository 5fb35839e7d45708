import numpy as np
import pytest
import sklearn.datasets

from jaxnets.data import breast_cancer, diabetes, digits, iris, wine


@pytest.mark.parametrize(
    ("load", "raw"),
    [
        (breast_cancer, sklearn.datasets.load_breast_cancer()),
        (wine, sklearn.datasets.load_wine()),
        (iris, sklearn.datasets.load_iris()),
        (diabetes, sklearn.datasets.load_diabetes(scaled=False)),
    ],
    ids=["breast_cancer", "wine", "iris", "diabetes"],
)
def test_every_row_of_scikit_learn_is_in_one_part_with_its_label(load, raw):
    data = load(seed=1)
    rows = np.concatenate([np.column_stack(part) for part in data[:3]])
    expected = np.column_stack([raw.data.astype(np.float32), raw.target])
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])
    assert data.classes == tuple(getattr(raw, "target_names", ()))
    assert data.train[0].dtype == np.float32
    assert data.train[1].dtype == (np.int32 if data.classes else np.float32)


def test_digits_are_the_images_in_order_of_their_rows():
    raw = sklearn.datasets.load_digits()
    data = digits(seed=2)
    images = np.concatenate([part[0] for part in data[:3]]).reshape(-1, 64) * 16
    assert sorted(map(bytes, images.astype(np.uint8))) == sorted(map(bytes, raw.data.astype(np.uint8)))


def test_seeds_differ():
    assert not np.array_equal(iris(0).train[0], iris(1).train[0])
    np.testing.assert_array_equal(iris(1).train[0], iris(1).train[0])
