"""The real files, where `JAXNETS_DATA` names a folder that has them: nothing is downloaded here."""

import csv
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from jaxnets.data import (
    camvid,
    cifar10,
    mnist,
    multi30k,
    names,
    pima,
    read_csv,
    sentences,
    text_windows,
    tiny_shakespeare,
)

FOLDER = Path(os.environ.get("JAXNETS_DATA") or "/nonexistent")


def needs(path):
    there = any((FOLDER / name).exists() for name in (path, f"{path}.gz", f"{path}.xz"))
    return pytest.mark.skipif(not there, reason=f"JAXNETS_DATA has no {path}")


@needs("mnist/train-images-idx3-ubyte")
def test_mnist():
    data = mnist(validation=0, raw=True)
    (images, labels), (test_images, test_labels) = data.train, data.test
    assert (images.shape, test_images.shape) == ((60_000, 28, 28, 1), (10_000, 28, 28, 1))
    # The counts of the digits 0 to 9, as published.
    assert np.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test_labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # Mean and standard deviation that the usual normalization of MNIST takes.
    assert images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert images.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    pixels = b"\0\0\x08\x03\0\0\x27\x10\0\0\0\x1c\0\0\0\x1c" + test_images.tobytes()
    assert hashlib.sha256(pixels).hexdigest() == "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"


@needs("mnist/train-images-idx3-ubyte")
def test_mnist_with_validation():
    data = mnist(seed=1, validation=0.1)
    assert [len(part[0]) for part in data[:3]] == [54_000, 6_000, 10_000]
    assert (data.train[0].dtype, data.train[0].min(), data.train[0].max()) == (np.float32, 0, 1)


@needs("cifar10/cifar-10-batches-bin")
def test_cifar10():
    data = cifar10(raw=True)
    assert [part[0].shape for part in data[:3]] == [(count, 32, 32, 3) for count in (45_000, 5_000, 10_000)]
    assert np.bincount(np.concatenate([data.train[1], data.validation[1]])).tolist() == [5000] * 10
    assert np.bincount(data.test[1]).tolist() == [1000] * 10
    # The means of red, green and blue that the usual normalization of CIFAR-10 takes.
    np.testing.assert_allclose(data.train[0].mean((0, 1, 2)) / 255, [0.4914, 0.4822, 0.4465], atol=0.003)


@needs("tabular/pima-indians-diabetes.csv")
def test_pima():
    table = pima()
    with (FOLDER / "tabular/pima-indians-diabetes.csv").open() as file:
        rows = np.array([[float(cell) for cell in row] for row in csv.reader(file)])
    np.testing.assert_array_equal(table.inputs, rows[:, :8].astype(np.float32))
    np.testing.assert_array_equal(table.labels, rows[:, 8])
    assert (table.inputs.shape, table.labels.sum(), table.classes, len(table.names)) == ((768, 8), 268, ("0", "1"), 8)


@needs("text/tinyshakespeare.txt")
def test_tiny_shakespeare():
    text = tiny_shakespeare()
    whole = text.vocabulary.decode(np.concatenate([text.train, text.validation]))
    digest = hashlib.sha256(whole.encode()).hexdigest()
    assert digest == "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
    assert (len(whole), len(text.vocabulary.characters)) == (1_115_394, 65)
    assert text_windows(text.train, 128).shape == (7842, 129)


@needs("text/names.txt")
def test_names():
    text = names()
    whole = text.vocabulary.decode(np.concatenate([text.train, text.validation]))
    assert sorted(whole.split()) == sorted((FOLDER / "text/names.txt").read_text().split())
    assert (whole.count("\n"), text.vocabulary.characters) == (32_033, "\nabcdefghijklmnopqrstuvwxyz")
    assert not np.array_equal(text.train, names(seed=1).train)


@needs("series/airline-passengers.csv")
def test_series_are_read_as_csv():
    airline = read_csv(FOLDER / "series/airline-passengers.csv", "Passengers", columns=[], regression=True)
    assert (airline.labels.shape, airline.labels[:3].tolist(), airline.labels.max()) == ((144,), [112, 118, 132], 622)
    sunspots = read_csv(FOLDER / "series/monthly-sunspots.csv", "Sunspots", columns=[], regression=True)
    assert (sunspots.labels.shape, sunspots.labels[0]) == ((2820,), 58)


@needs("multi30k/multi30k-en-de.tar.xz")
def test_multi30k():
    data = multi30k()
    assert [len(pairs.german) for pairs in data] == [len(pairs.english) for pairs in data]
    assert [len(pairs.german) for pairs in data] == [29_000, 1_014, 1_000, 1_000, 461]  # as published
    assert data.train.german[0] == "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche."
    assert data.train.english[0] == "Two young, White males are outside near many bushes."


@needs("text/sentences.tar.xz")
def test_sentences():
    """The counts of Kim (2014), table 1; those of TREC's questions for training are Li and Roth's."""
    published = {
        "mr": (10_662, 0, 0),
        "subj": (10_000, 0, 0),
        "cr": (3_775, 0, 0),
        "mpqa": (10_606, 0, 0),
        "trec": (5_452, 0, 500),
        "sst2": (6_920, 872, 1_821),
        "sst5": (8_544, 1_101, 2_210),
    }
    for name, counts in published.items():
        data = sentences(name)
        assert tuple(len(part.texts) for part in data[:3]) == counts
        assert all(len(part.texts) == len(part.labels) for part in data[:3])
        assert data.train.labels.max() == len(data.classes) - 1
    assert np.bincount(sentences("mr").train.labels).tolist() == [5_331, 5_331]
    assert np.bincount(sentences("trec").train.labels).tolist() == [1_162, 1_250, 86, 1_223, 835, 896]
    assert np.bincount(sentences("subj").train.labels).tolist() == [5_000, 5_000]
    assert sum("é" in text for text in sentences("mr").train.texts) > 50


@needs("text/sentences.tar.xz")
def test_phrases_are_those_of_the_sentences():
    two, five = sentences("sst2", phrases=True), sentences("sst5", phrases=True)
    assert (len(two.train.texts), len(five.train.texts)) == (76_961, 156_817)
    labels = dict(zip(five.train.texts, five.train.labels.tolist(), strict=True))
    whole = sentences("sst5").train
    same = [labels.get(text) == label for text, label in zip(whole.texts, whole.labels.tolist(), strict=True)]
    assert sum(same) >= len(same) - 30  # a few texts differ by a sign or are there twice


@needs("camvid/camvid-240x180-jpeg.tar")
def test_camvid():
    """The shares of the classes are those that were counted when the files were made."""
    data = camvid(raw=True)
    assert [len(images) for images, _ in data[:3]] == [367, 101, 233]
    share = np.bincount(data.train[1].ravel(), minlength=12) / data.train[1].size
    expected = [0.169, 0.233, 0.010, 0.315, 0.045, 0.097, 0.012, 0.011, 0.059, 0.006, 0.003, 0.039]
    np.testing.assert_allclose(share, expected, atol=6e-4)
    sky = data.test[0][data.test[1] == 0].mean(axis=0)
    assert (sky > data.test[0][data.test[1] == 5].mean(axis=0)).all()  # images and labels are of the same order
