import gzip
import hashlib
import importlib
import io
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxnets.data import cifar10, cifar100
from jaxnets.data.cifar_classes import CIFAR100_COARSE, CIFAR100_FINE

module = importlib.import_module("jaxnets.data.cifar")
RNG = np.random.default_rng(0)


def records(count, *classes):
    labels = [RNG.integers(0, limit, (count, 1), np.uint8) for limit in classes]
    return np.concatenate([*labels, RNG.integers(0, 256, (count, 3072), np.uint8)], axis=1)


SMALL10 = module.CIFAR10._replace(files=(("data_batch_1.bin", 4), ("data_batch_2.bin", 4), ("test_batch.bin", 3)))
RECORDS10 = [records(4, 10), records(4, 10), records(3, 10)]
SMALL100 = module.CIFAR100._replace(files=(("train.bin", 5), ("test.bin", 3)))
RECORDS100 = [records(5, 20, 100), records(3, 20, 100)]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    monkeypatch.setattr(module, "CIFAR10", SMALL10)
    monkeypatch.setattr(module, "CIFAR100", SMALL100)
    return tmp_path


def write_folder(folder, files, arrays):
    folder.mkdir(parents=True)
    for (name, _), array in zip(files.files, arrays, strict=True):
        (folder / name).write_bytes(array.tobytes())


def member(name, content=b"", **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, content


def good_members(prefix=""):
    return [
        member(f"{prefix}cifar-10-batches-bin", type=tarfile.DIRTYPE),
        member(f"{prefix}cifar-10-batches-bin/readme.html", b"read me"),
        *(
            member(f"{prefix}cifar-10-batches-bin/{name}", array.tobytes())
            for (name, _), array in zip(SMALL10.files, RECORDS10, strict=True)
        ),
    ]


def tar_bytes(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def write_archive(folder, members):
    path = folder / "cifar-10-binary.tar.gz"
    path.write_bytes(gzip.compress(tar_bytes(members), 1))
    return path


@pytest.mark.parametrize("place", ["cifar10/cifar-10-batches-bin", "cifar-10-batches-bin"])
def test_folder_of_cifar10(folder, place):
    write_folder(folder / place, SMALL10, RECORDS10)
    data = cifar10(validation=0)
    assert (data.train[0].shape, data.test[0].shape) == ((8, 32, 32, 3), (3, 32, 32, 3))
    assert (data.train[0].dtype, data.train[1].dtype, len(data.classes)) == (np.float32, np.int32, 10)
    rows = np.concatenate(RECORDS10[:2])
    np.testing.assert_array_equal(data.train[1], rows[:, 0])
    # Byte 1 + 1024 c + 32 y + x of a record is channel c of the pixel in row y and column x.
    for example, y, x, channel in [(0, 0, 0, 0), (5, 3, 7, 0), (5, 3, 7, 1), (7, 31, 30, 2)]:
        stored = rows[example, 1 + 1024 * channel + 32 * y + x]
        assert data.train[0][example, y, x, channel] == np.float32(stored) / np.float32(255)


def test_cifar100_labels(folder):
    write_folder(folder / "cifar100" / "cifar-100-binary", SMALL100, RECORDS100)
    coarse, fine = cifar100(labels="coarse", validation=0.2, raw=True), cifar100(validation=0.2, raw=True)
    np.testing.assert_array_equal(coarse.test[1], RECORDS100[1][:, 0])
    np.testing.assert_array_equal(fine.test[1], RECORDS100[1][:, 1])
    assert (len(coarse.classes), len(fine.classes), len(fine.validation[0]), fine.test[0].dtype) == (
        20,
        100,
        1,
        np.uint8,
    )
    np.testing.assert_array_equal(fine.test[0][:, 2, 5, 1], RECORDS100[1][:, 2 + 1024 + 64 + 5])
    with pytest.raises(ValueError, match="'fine' or 'coarse', got 'both'"):
        cifar100(labels="both")


def test_class_names_are_sorted_as_in_the_archive():
    assert list(CIFAR100_FINE) == sorted(CIFAR100_FINE)
    assert list(CIFAR100_COARSE) == sorted(CIFAR100_COARSE)
    assert (len(set(CIFAR100_FINE)), len(set(CIFAR100_COARSE))) == (100, 20)


@pytest.mark.parametrize("prefix", ["", "./"])
def test_archive(folder, prefix, monkeypatch):
    (folder / "cifar10").mkdir()
    path = write_archive(folder / "cifar10", good_members(prefix))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(module, "CIFAR10", SMALL10._replace(archive=SMALL10.archive._replace(sha256=digest)))
    data = cifar10(validation=0)
    np.testing.assert_array_equal(data.train[1], np.concatenate(RECORDS10[:2])[:, 0])
    assert sorted(file.name for file in folder.rglob("*")) == ["cifar-10-binary.tar.gz", "cifar10"]


def test_archive_of_another_hash(folder):
    (folder / "cifar10").mkdir()
    write_archive(folder / "cifar10", good_members())
    with pytest.raises(ValueError, match=r"SHA-256 .* where c4a38c50.* was expected; remove it"):
        cifar10()


NAME = "cifar-10-batches-bin/data_batch_1.bin"


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (member("/etc/passwd", b"x"), "leads out of a folder"),
        (member("a/../../b", b"x"), "leads out of a folder"),
        (member("..\\b", b"x"), "leads out of a folder"),
        (member("C:/b", b"x"), "leads out of a folder"),
        (member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "a link or a device"),
        (member("link", type=tarfile.LNKTYPE, linkname=NAME), "a link or a device"),
        (member("null", type=tarfile.CHRTYPE), "a link or a device"),
        (member(NAME, RECORDS10[0].tobytes()), "got a second one"),
        (member("big", bytes(10**6)), "far more than the data set"),
    ],
)
def test_hostile_archives(folder, extra, message):
    path = write_archive(folder, [*good_members(), extra])
    with pytest.raises(ValueError, match=message):
        module.read_archive(path, SMALL10)
    assert [file.name for file in folder.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("replacement", "message"),
    [
        (None, "lacks cifar-10-batches-bin/data_batch_1.bin"),
        (member(NAME, RECORDS10[0].tobytes()[:-1]), "expected one file .* of 12,292 bytes, got 12,291 bytes"),
        (member(NAME, type=tarfile.DIRTYPE), "expected one file"),
        (member(NAME, bytes([10]) + RECORDS10[0].tobytes()[1:]), "label 0 must be below 10, got 10"),
        (member("other-set/data_batch_1.bin", RECORDS10[0].tobytes()), "lacks"),
    ],
)
def test_wrong_members(folder, replacement, message):
    members = [pair for pair in good_members() if pair[0].name != NAME]
    path = write_archive(folder, members if replacement is None else [*members, replacement])
    with pytest.raises(ValueError, match=message):
        module.read_archive(path, SMALL10)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("archives")


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(0, 2**20), st.binary(min_size=1, max_size=8), st.booleans())
def test_damaged_headers_are_value_errors_or_harmless(shared, place, damage, cut):
    """Bytes overwritten in the headers of the archive, or everything after them cut off."""
    content = bytearray(tar_bytes(good_members()))
    place %= 2048
    content[place : place + len(damage)] = damage
    path = shared / "damaged.tar.gz"
    path.write_bytes(gzip.compress(bytes(content[: place * 20] if cut else content), 1))
    try:
        found = module.read_archive(path, SMALL10)
    except ValueError:
        return
    for array, expected in zip(found, RECORDS10, strict=True):
        np.testing.assert_array_equal(array, expected)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.floats(0, 0.97))
def test_cut_archives(shared, share):
    whole = gzip.compress(tar_bytes(good_members()), 1)
    path = shared / "cut.tar.gz"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ValueError, match=r"archive|lacks"):
        module.read_archive(path, SMALL10)


def test_wrong_folders(folder):
    place = folder / "cifar10" / "cifar-10-batches-bin"
    write_folder(place, SMALL10, RECORDS10)
    (place / "data_batch_2.bin").write_bytes(RECORDS10[1].tobytes()[:-3])
    with pytest.raises(ValueError, match=r"data_batch_2\.bin: 4 records make 12,292 bytes, got 12,289"):
        cifar10()
    (place / "data_batch_2.bin").write_bytes(RECORDS10[1].tobytes() + b"x")
    with pytest.raises(ValueError, match="more than the expected 12,292 bytes"):
        cifar10()
    (place / "data_batch_2.bin").write_bytes(bytes([77]) + RECORDS10[1].tobytes()[1:])
    with pytest.raises(ValueError, match="label 0 must be below 10, got 77"):
        cifar10()
    (place / "data_batch_2.bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks data_batch_2\.bin"):
        cifar10()


def test_offline(monkeypatch):
    archive = SMALL10.archive._replace(urls=("http://127.0.0.1:1/x",))
    monkeypatch.setattr(module, "CIFAR10", SMALL10._replace(archive=archive))
    with pytest.raises(FileNotFoundError, match=r"cifar10.cifar-10-binary\.tar\.gz"):
        cifar10()
