"""MNIST and data sets of the same form: 70,000 gray images of 28 x 28 pixels in 10 classes."""

from __future__ import annotations

import hashlib

import numpy as np

from jaxnets.data.data_set import DataSet, Split, hold_out
from jaxnets.data.files import DataFile, data_folder, load_files
from jaxnets.data.idx import parse_idx
from jaxnets.errors import FileError

# Name, examples, bytes of the content.
PARTS = (
    ("train-images-idx3-ubyte", 60_000, 47_040_016),
    ("train-labels-idx1-ubyte", 60_000, 60_008),
    ("t10k-images-idx3-ubyte", 10_000, 7_840_016),
    ("t10k-labels-idx1-ubyte", 10_000, 10_008),
)
# Bytes and SHA-256 of the compressed files: TensorFlow Datasets, tensorflow_datasets/url_checksums.
MNIST_DOWNLOADS = (
    (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
MNIST_CONTENTS = (
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
FASHION_CONTENTS = (
    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
)
FASHION_DOWNLOADS = (
    (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)
# For this data set the SHA-256 of the contents is not published: that of the compressed file is verified, and for a
# decompressed file in the data folder sizes and labels are checked, with a warning.
KUZUSHIJI_DOWNLOADS = (
    (18_165_135, "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4"),
    (29_497, "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17"),
    (3_041_136, "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5"),
    (5_120, "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c"),
)
MNIST_MIRRORS = ("https://storage.googleapis.com/cvdf-datasets/mnist", "https://ossci-datasets.s3.amazonaws.com/mnist")
FASHION_MIRRORS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
)
KUZUSHIJI_MIRRORS = ("http://codh.rois.ac.jp/kmnist/dataset/kmnist",)


def mnist(seed: int = 0, *, validation: float = 0.1, raw: bool = False) -> DataSet:
    """Load MNIST: handwritten digits, 60,000 for training and 10,000 for testing.

    The files are in the folder `mnist` of `data_folder()`; if missing, they are downloaded there (12 MB).

    Args:
        seed: of the choice of the validation split.
        validation: share of the 60,000 to take for validation, in [0, 1); the rest are for training, in the file's
            order.
        raw: return the stored pixels, uint8 from 0 to 255, in a quarter of the memory.

    Returns:
        Images float32 `[examples, 28, 28, 1]` in [0, 1], and labels int32 `[examples]`.

    Raises:
        FileNotFoundError: if the files are missing and cannot be downloaded; the error lists them.
        ValueError: if a file is damaged, or the share is out of range.

    Example:
        `mnist(validation=0).train[0]` is `[60000, 28, 28, 1]`.

    Reference:
        LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
    """
    files = _files("mnist", MNIST_MIRRORS, MNIST_DOWNLOADS, MNIST_CONTENTS)
    return _load(files, seed, validation, raw, tuple("0123456789"))


def fashion_mnist(seed: int = 0, *, validation: float = 0.1, raw: bool = False) -> DataSet:
    """Load Fashion-MNIST: photographs of clothes, 60,000 for training and 10,000 for testing.

    The files are in the folder `fashion-mnist` of `data_folder()`; if missing, they are downloaded there (31 MB). Their
    licence is MIT.

    Args:
        seed: of the choice of the validation split.
        validation: share of the 60,000 to take for validation, in [0, 1); the rest are for training, in the file's
            order.
        raw: return the stored pixels, uint8 from 0 to 255, in a quarter of the memory.

    Returns:
        Images float32 `[examples, 28, 28, 1]` in [0, 1], and labels int32 `[examples]`.

    Raises:
        FileNotFoundError: if the files are missing and cannot be downloaded; the error lists them.
        ValueError: if a file is damaged, or the share is out of range.

    Example:
        `fashion_mnist().classes[9]` is `"ankle boot"`.

    Reference:
        Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms,
        2017.
    """
    names = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
    files = _files("fashion-mnist", FASHION_MIRRORS, FASHION_DOWNLOADS, FASHION_CONTENTS)
    return _load(files, seed, validation, raw, names)


def kmnist(seed: int = 0, *, validation: float = 0.1, raw: bool = False) -> DataSet:
    """Load Kuzushiji-MNIST: cursive Japanese characters, 60,000 for training and 10,000 for testing.

    The files are in the folder `kmnist` of `data_folder()`; if missing, they are downloaded there (21 MB).

    Args:
        seed: of the choice of the validation split.
        validation: share of the 60,000 to take for validation, in [0, 1); the rest are for training, in the file's
            order.
        raw: return the stored pixels, uint8 from 0 to 255, in a quarter of the memory.

    Returns:
        Images float32 `[examples, 28, 28, 1]` in [0, 1], and labels int32 `[examples]`.

    Raises:
        FileNotFoundError: if the files are missing and cannot be downloaded; the error lists them.
        ValueError: if a file is damaged, or the share is out of range.

    Example:
        `kmnist().classes[:3]` is `("o", "ki", "su")`.

    Reference:
        Clanuwat et al., Deep learning for classical Japanese literature, 2018.
    """
    names = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
    return _load(_files("kmnist", KUZUSHIJI_MIRRORS, KUZUSHIJI_DOWNLOADS), seed, validation, raw, names)


def _files(
    folder: str,
    mirrors: tuple[str, ...],
    downloads: tuple[tuple[int, str], ...],
    contents: tuple[str | None, ...] = (None,) * 4,
) -> list[DataFile]:
    return [
        DataFile(
            f"{folder}/{name}.gz", tuple(f"{mirror}/{name}.gz" for mirror in mirrors), size, sha256, bytes_, content
        )
        for (name, _, bytes_), (size, sha256), content in zip(PARTS, downloads, contents, strict=True)
    ]


def _load(files: list[DataFile], seed: int, validation: float, raw: bool, names: tuple[str, ...]) -> DataSet:
    train_images, train_labels, test_images, test_labels = (
        _array(content, file, examples)
        for content, file, (_, examples, _) in zip(load_files(files), files, PARTS, strict=True)
    )
    train, held_out = hold_out((train_images, train_labels), validation, seed)
    train, held_out, test = (_finish(part, raw) for part in (train, held_out, (test_images, test_labels)))
    return DataSet(train, held_out, test, names)


def _array(content: bytes, file: DataFile, examples: int) -> np.ndarray:
    """The array in a file; ValueError unless it has images or labels of the right data set in MNIST's form."""
    if file.content_sha256 is None and hashlib.sha256(content).hexdigest() in MNIST_CONTENTS:
        raise FileError(f"{file.path} below {data_folder()} is a file of MNIST: remove it to download the right one")
    array = parse_idx(content, file.path)
    expected = (examples, 28, 28) if "images" in file.path else (examples,)
    if array.shape != expected or array.dtype != np.uint8:
        raise FileError(f"{file.path}: expected uint8 {list(expected)}, got {array.dtype} {list(array.shape)}")
    if array.ndim == 1 and array.max() > 9:
        raise FileError(f"{file.path}: labels are from 0 to 9, got {array.max()}")
    return array


def _finish(part: Split, raw: bool) -> Split:
    images, labels = part
    pixels = images[..., None]
    return pixels if raw else pixels.astype(np.float32) / np.float32(255), labels.astype(np.int32)
