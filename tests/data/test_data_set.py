import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from jaxnets.data import DataSet, fit_standardization, hold_out, make_data_set, standardize

RNG = np.random.default_rng(0)


def data_set(train, validation, test):
    return DataSet(*((x, np.zeros(len(x), np.int32)) for x in (train, validation, test)), classes=("a",))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_standardize_equals_standard_scaler_fitted_on_train(dtype):
    train, validation, test = (RNG.normal(1e3, [1, 1e-3, 50, 0], (n, 4)).astype(dtype) for n in (50, 7, 9))
    scaler = StandardScaler().fit(train.astype(np.float64))
    result = standardize(data_set(train, validation, test))
    for part, original in zip(result[:3], (train, validation, test), strict=True):
        expected = scaler.transform(original.astype(np.float64))
        np.testing.assert_allclose(part[0], expected, rtol=1e-4, atol=1e-4)
        assert part[0].dtype == dtype


def test_test_part_does_not_leak_into_standardization():
    train, rest = RNG.normal(size=(20, 3)), RNG.normal(size=(5, 3))
    first = standardize(data_set(train, rest, rest))
    second = standardize(data_set(train, rest * 100, rest * -7))
    np.testing.assert_array_equal(first.train[0], second.train[0])
    np.testing.assert_allclose(second.test[0], fit_standardization(train)(rest * -7))


def test_constant_columns_become_zero_even_where_their_mean_is_rounded():
    x = np.full((3, 1), 0.1)
    assert x.mean() != 0.1
    fitted = fit_standardization(x)
    assert (fitted.mean, fitted.scale) == (0.1, 1)
    np.testing.assert_array_equal(fitted(x), np.zeros((3, 1)))
    np.testing.assert_allclose(fitted(np.array([[1.1]])), 1.0)


def test_images_are_standardized_by_channel():
    images = RNG.uniform(size=(6, 4, 5, 3)).astype(np.float32)
    expected = StandardScaler().fit_transform(images.reshape(-1, 3)).reshape(images.shape)
    np.testing.assert_allclose(fit_standardization(images)(images), expected, atol=1e-5)


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20))
def test_inverse_restores(numbers):
    x = np.array(numbers)[:, None]
    fitted = fit_standardization(x)
    np.testing.assert_allclose(fitted.inverse(fitted(x)), x, rtol=1e-9, atol=1e-9 * (1 + np.abs(x).max()))


def test_standardization_errors():
    with pytest.raises(TypeError, match=r"got int64; write np.float32\(x\)"):
        fit_standardization(np.ones((2, 2), int))
    with pytest.raises(TypeError, match="got list"):
        fit_standardization([[1.0]])
    with pytest.raises(ValueError, match="NaN or infinity"):
        fit_standardization(np.array([[1.0], [np.nan]]))
    with pytest.raises(ValueError, match=r"got \[0, 2\]"):
        fit_standardization(np.ones((0, 2)))


def test_parts_are_a_partition_with_equal_shares_of_classes():
    labels = np.repeat([0, 1, 2], [100, 60, 40])
    data = make_data_set(np.arange(200)[:, None], labels, seed=3, validation=0.1, test=0.25, classes=["a", "b", "c"])
    assert sorted(np.concatenate([part[0][:, 0] for part in data[:3]])) == list(range(200))
    assert [np.bincount(part[1]).tolist() for part in data[:3]] == [[65, 39, 26], [10, 6, 4], [25, 15, 10]]
    for inputs, part_labels in data[:3]:
        np.testing.assert_array_equal(labels[inputs[:, 0]], part_labels)


def test_split_is_that_of_scikit_learn():
    x, y = np.arange(30)[:, None], np.arange(30) / 7
    _, test, _, test_labels = train_test_split(x, y, test_size=6, random_state=5)
    data = make_data_set(x, y, 5)
    np.testing.assert_array_equal(data.test[0], test)
    np.testing.assert_array_equal(data.test[1], test_labels)


def test_split_errors():
    x, y = np.ones((10, 1)), np.zeros(10, int)
    with pytest.raises(ValueError, match="got 9 and 10"):
        make_data_set(x, y[:9])
    with pytest.raises(ValueError, match="sum below 1"):
        make_data_set(x, y, validation=0.5, test=0.5)
    with pytest.raises(ValueError, match="too few for splits of 5, 0 and 1"):
        make_data_set(x[:6], y[:6], validation=0.01, test=0.2)
    with pytest.raises(ValueError, match="too few"):
        make_data_set(x, y, classes=["a", "b"])


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.integers(0, 40), st.floats(0, 0.99), st.integers(0, 5))
def test_hold_out_is_a_partition_in_order(count, share, seed):
    part = np.arange(count), np.arange(count) * 2
    if count and round(count * share) == count:
        with pytest.raises(ValueError, match="leaves none"):
            hold_out(part, share, seed)
        return
    (kept, kept_labels), (taken, taken_labels) = hold_out(part, share, seed)
    assert len(taken) == round(count * share)
    assert sorted([*kept, *taken]) == list(range(count))
    for inputs, labels in ((kept, kept_labels), (taken, taken_labels)):
        np.testing.assert_array_equal(labels, inputs * 2)
        assert (np.diff(inputs) > 0).all()


def test_hold_out_depends_on_the_seed_alone():
    part = np.arange(100), np.arange(100)
    chosen = [hold_out(part, 0.3, seed)[1][0].tolist() for seed in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]
    with pytest.raises(ValueError, match=r"in \[0, 1\), got 1"):
        hold_out(part, 1)
