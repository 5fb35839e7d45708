import gzip
import hashlib
import importlib
import struct

import numpy as np
import pytest

from jaxnets.data import fashion_mnist, kmnist, mnist

pytestmark = pytest.mark.filterwarnings("ignore:.* is not verified")
module = importlib.import_module("jaxnets.data.mnist")


def write_set(folder, count_train=60, count_test=20, **changes):
    """A small set in the form of MNIST, decompressed; `changes` replaces the bytes of a file."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    arrays = {}
    for prefix, count in (("train", count_train), ("t10k", count_test)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = rng.integers(0, 10, count, np.uint8)
        arrays[prefix] = images, labels
        files = {
            f"{prefix}-images-idx3-ubyte": struct.pack(">4I", 0x803, count, 28, 28) + images.tobytes(),
            f"{prefix}-labels-idx1-ubyte": struct.pack(">2I", 0x801, count) + labels.tobytes(),
        }
        for name, content in files.items():
            key = name.split("-idx")[0].replace("-", "_")
            (folder / name).write_bytes(changes.get(key, content))
    return arrays


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The loaders expect 60 and 20 images instead of 60,000 and 10,000."""
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    sizes = [(60, 16 + 60 * 784), (60, 8 + 60), (20, 16 + 20 * 784), (20, 8 + 20)]
    parts = [(name, *size) for (name, *_), size in zip(module.PARTS, sizes, strict=True)]
    monkeypatch.setattr(module, "PARTS", parts)
    return tmp_path


def test_images_and_labels(small):
    arrays = write_set(small / "kmnist")
    data = kmnist(validation=0)
    np.testing.assert_array_equal(np.rint(data.train[0][..., 0] * 255), arrays["train"][0])
    np.testing.assert_array_equal(data.test[1], arrays["t10k"][1])
    assert (data.train[0].dtype, data.train[1].dtype) == (np.float32, np.int32)
    assert data.train[0].max() <= 1
    assert len(data.validation[0]) == 0


def test_raw_keeps_the_bytes(small):
    arrays = write_set(small / "kmnist")
    data = kmnist(raw=True, validation=0)
    np.testing.assert_array_equal(data.train[0], arrays["train"][0][..., None])
    assert data.train[0].dtype == np.uint8


def test_validation_is_a_part_of_train_by_seed(small):
    arrays = write_set(small / "kmnist")
    data = kmnist(seed=4, validation=0.25, raw=True)
    images = np.concatenate([data.train[0], data.validation[0]])
    assert len(data.validation[0]) == 15
    assert sorted(map(bytes, images)) == sorted(map(bytes, arrays["train"][0]))
    assert not np.array_equal(data.validation[0], kmnist(seed=5, validation=0.25, raw=True).validation[0])


def test_mnist_itself_is_known_by_its_hash(small):
    write_set(small / "mnist")
    with pytest.raises(ValueError, match=r"SHA-256 .* where ba891046.* was expected"):
        mnist()


def test_files_of_mnist_in_the_folder_of_another_set(small, monkeypatch):
    write_set(small / "kmnist")
    labels = (small / "kmnist" / "t10k-labels-idx1-ubyte").read_bytes()
    monkeypatch.setattr(module, "MNIST_CONTENTS", (hashlib.sha256(labels).hexdigest(),))
    with pytest.raises(ValueError, match=r"t10k-labels-idx1-ubyte\.gz below .* is a file of MNIST:"):
        kmnist()


def test_compressed_files_of_the_other_sets_are_known_by_the_hash_of_the_download(small, monkeypatch):
    arrays = write_set(small / "kmnist")
    for name, *_ in module.PARTS:
        plain = small / "kmnist" / name
        plain.with_name(f"{name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    with pytest.raises(ValueError, match=r"SHA-256 .* where 51467d22.* was expected"):
        kmnist()
    packed = [(small / "kmnist" / f"{name}.gz").read_bytes() for name, *_ in module.PARTS]
    hashes = [(len(content), hashlib.sha256(content).hexdigest()) for content in packed]
    monkeypatch.setattr(module, "KUZUSHIJI_DOWNLOADS", hashes)
    np.testing.assert_array_equal(kmnist().test[1], arrays["t10k"][1])


@pytest.mark.filterwarnings("default")
def test_a_decompressed_file_without_a_published_hash_is_told(small):
    write_set(small / "kmnist")
    with pytest.warns(UserWarning, match=r"train-images-idx3-ubyte is not verified"):
        kmnist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_labels": struct.pack(">2I", 0x801, 60) + bytes([10] * 60)}, "labels are from 0 to 9, got 10"),
        ({"train_labels": struct.pack(">2I", 0x801, 60) + bytes(59)}, "holds 67 bytes where 68"),
        ({"train_images": struct.pack(">4I", 0x803, 30, 56, 28) + bytes(60 * 784)}, r"expected uint8 \[60, 28, 28\]"),
        ({"t10k_images": b"\x80\x04\x95\x00" + bytes(12 + 20 * 784)}, "begins with 80 04 95 00"),
        ({"t10k_images": struct.pack(">4I", 0x803, 21, 28, 28) + bytes(20 * 784)}, "its header, uint8"),
        ({"train_images": bytes(10**6)}, "more than the expected 47,056"),
    ],
)
def test_wrong_files(small, changes, message):
    write_set(small / "kmnist", **changes)
    with pytest.raises(ValueError, match=message):
        kmnist()


def test_fashion_mnist_is_known_by_the_hash_of_its_content(small, monkeypatch):
    """As it is, or compressed again by whatever program, which has other bytes."""
    arrays = write_set(small / "fashion-mnist")
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte has .* where c59f468a.* was expected"):
        fashion_mnist()
    contents = [(small / "fashion-mnist" / name).read_bytes() for name, *_ in module.PARTS]
    monkeypatch.setattr(module, "FASHION_CONTENTS", [hashlib.sha256(content).hexdigest() for content in contents])
    packed = small / "fashion-mnist" / "t10k-labels-idx1-ubyte.gz"
    packed.write_bytes(gzip.compress(packed.with_suffix("").read_bytes(), compresslevel=1))
    packed.with_suffix("").unlink()
    data = fashion_mnist(validation=0)
    np.testing.assert_array_equal(data.test[1], arrays["t10k"][1])
    assert (len(data.classes), data.classes[3]) == (10, "dress")


def test_offline_lists_all_four_files(small, monkeypatch):
    monkeypatch.setattr(module, "KUZUSHIJI_MIRRORS", ("http://127.0.0.1:1",))
    with pytest.raises(FileNotFoundError) as raised:
        kmnist()
    for name, *_ in module.PARTS:
        assert str(small / "kmnist" / f"{name}.gz") in str(raised.value)


def test_share_out_of_range(small):
    write_set(small / "kmnist")
    with pytest.raises(ValueError, match=r"in \[0, 1\), got 1.0"):
        kmnist(validation=1.0)
