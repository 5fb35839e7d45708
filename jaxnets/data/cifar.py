"""CIFAR-10 and CIFAR-100, 60,000 color images of 32 x 32 pixels, from the binary files, never the pickled ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jaxnets.data.cifar_classes import CIFAR10_CLASSES, CIFAR100_COARSE, CIFAR100_FINE
from jaxnets.data.data_set import DataSet, Split, hold_out
from jaxnets.data.files import DataFile, data_folder, locate, read_content
from jaxnets.errors import FileError

PIXEL_BYTES = 3 * 32 * 32


class BinaryFiles(NamedTuple):
    """The binary files of one of the sets.

    Attributes:
        folder: their folder in the archive.
        files: name and number of records of each; the last is the test split.
        label_limits: the number of classes for each label byte before the pixels.
        archive: the download.
    """

    folder: str
    files: tuple[tuple[str, int], ...]
    label_limits: tuple[int, ...]
    archive: DataFile

    @property
    def record_bytes(self) -> int:
        """Bytes of a record: its labels and its pixels."""
        return len(self.label_limits) + PIXEL_BYTES


def _archive(path: str, size: int, sha256: str) -> DataFile:
    url = f"https://www.cs.toronto.edu/~kriz/{Path(path).name}"
    return DataFile(path, (url,), size, sha256, size, sha256)


# Bytes and SHA-256 of the archives: TensorFlow Datasets, tensorflow_datasets/url_checksums.
CIFAR10 = BinaryFiles(
    "cifar-10-batches-bin",
    (*((f"data_batch_{i}.bin", 10_000) for i in range(1, 6)), ("test_batch.bin", 10_000)),
    (10,),
    _archive(
        "cifar10/cifar-10-binary.tar.gz",
        170_052_171,
        "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    ),
)
CIFAR100 = BinaryFiles(
    "cifar-100-binary",
    (("train.bin", 50_000), ("test.bin", 10_000)),
    (20, 100),
    _archive(
        "cifar100/cifar-100-binary.tar.gz",
        168_513_733,
        "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    ),
)


def cifar10(seed: int = 0, *, validation: float = 0.1, raw: bool = False) -> DataSet:
    """Load CIFAR-10: 50,000 images of 10 classes for training and 10,000 for testing.

    They are read from `cifar10/cifar-10-batches-bin` or `cifar-10-batches-bin` in `data_folder()`, else from the
    archive `cifar10/cifar-10-binary.tar.gz`, which is downloaded if missing (170 MB).

    Args:
        seed: of the choice of the validation split.
        validation: share of the 50,000 to take for validation, in [0, 1); the rest are for training, in the file's
            order.
        raw: return the stored pixels, uint8 from 0 to 255, in a quarter of the memory.

    Returns:
        Images float32 `[examples, 32, 32, 3]` in [0, 1], and labels int32 `[examples]`.

    Raises:
        FileNotFoundError: if the files are missing and cannot be downloaded; the error says where to put them.
        ValueError: if a file is damaged, or the share is out of range.

    Example:
        `cifar10().train[0]` is `[45000, 32, 32, 3]`.

    Reference:
        Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    return _load(CIFAR10, 0, CIFAR10_CLASSES, seed, validation, raw)


def cifar100(
    seed: int = 0, *, labels: Literal["fine", "coarse"] = "fine", validation: float = 0.1, raw: bool = False
) -> DataSet:
    """Load CIFAR-100: 50,000 images of 100 classes for training and 10,000 for testing.

    They are read from `cifar100/cifar-100-binary` or `cifar-100-binary` in `data_folder()`, else from the archive
    `cifar100/cifar-100-binary.tar.gz`, which is downloaded if missing (169 MB).

    Args:
        seed: of the choice of the validation split.
        labels: `"fine"` for the 100 classes, `"coarse"` for their 20 groups.
        validation: share of the 50,000 to take for validation, in [0, 1); the rest are for training, in the file's
            order.
        raw: return the stored pixels, uint8 from 0 to 255, in a quarter of the memory.

    Returns:
        Images float32 `[examples, 32, 32, 3]` in [0, 1], and labels int32 `[examples]`.

    Raises:
        FileNotFoundError: if the files are missing and cannot be downloaded; the error says where to put them.
        ValueError: if a file is damaged, the share is out of range, or `labels` is neither of the two.

    Example:
        `cifar100(labels="coarse").classes[:2]` is `("aquatic_mammals", "fish")`.

    Reference:
        Krizhevsky, Learning multiple layers of features from tiny images, 2009.
    """
    if labels not in ("fine", "coarse"):
        raise ValueError(f"cifar100: labels must be 'fine' or 'coarse', got {labels!r}")
    column, names = (1, CIFAR100_FINE) if labels == "fine" else (0, CIFAR100_COARSE)
    return _load(CIFAR100, column, names, seed, validation, raw)


def _load(files: BinaryFiles, column: int, names: tuple[str, ...], seed: int, validation: float, raw: bool) -> DataSet:
    *train_files, test_file = read_records(files)
    train = np.concatenate(train_files)
    splits = *hold_out((train, train[:, column]), validation, seed), (test_file, test_file[:, column])
    kept, held_out, test_split = (_finish(records, labels, raw) for records, labels in splits)
    return DataSet(kept, held_out, test_split, names)


def read_records(files: BinaryFiles) -> list[np.ndarray]:
    """Return the records of each file, uint8 `[records, labels + pixels]`."""
    root = data_folder()
    for folder in (root / files.archive.path).with_name(files.folder), root / files.folder:
        if folder.is_dir():
            return read_folder(folder, files)
    path = locate([files.archive])[0]
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != files.archive.sha256:
        raise FileError(
            f"{path} has SHA-256 {found} where {files.archive.sha256} was expected; remove it to download the "
            f"right one, or unpack it to {path.with_name(files.folder)} to use it"
        )
    return read_archive(path, files)


def read_folder(folder: Path, files: BinaryFiles) -> list[np.ndarray]:
    """Read the records from a folder of `.bin` files, which are checked by size and labels only."""
    missing = [name for name, _ in files.files if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{folder} lacks {', '.join(missing)}; put them there, or remove the folder")
    return [
        parse_records(read_content(folder / name, count * files.record_bytes), count, files.label_limits, folder / name)
        for name, count in files.files
    ]


def read_archive(path: Path, files: BinaryFiles) -> list[np.ndarray]:
    """Read the records of the members with the right names from the archive; nothing is unpacked to disk."""
    wanted = {f"{files.folder}/{name}": count for name, count in files.files}
    # The real archives have less than 64 KiB besides the records; the limit is ten times that.
    limit = sum(wanted.values()) * files.record_bytes + 640 * 1024
    found: dict[str, np.ndarray] = {}
    try:
        with gzip.open(path) as stream, tarfile.open(fileobj=_Limited(stream, limit), mode="r|") as archive:
            for member in archive:
                _check_member(member, path)
                name = member.name.removeprefix("./")
                if name not in wanted:
                    continue
                if name in found or not member.isreg() or member.size != wanted[name] * files.record_bytes:
                    raise FileError(
                        f"{path}: expected one file {name} of {wanted[name] * files.record_bytes:,} bytes, got "
                        f"{'a second one' if name in found else f'{member.size:,} bytes'}"
                    )
                content = archive.extractfile(member)
                data = content.read() if content is not None else b""
                found[name] = parse_records(data, wanted[name], files.label_limits, f"{path}: {name}")
    except (tarfile.TarError, EOFError, OSError, zlib.error, OverflowError) as error:
        raise FileError(f"{path} is not a complete tar.gz archive: {error}") from error
    missing = [name for name in wanted if name not in found]
    if missing:
        raise FileError(f"{path} lacks {', '.join(missing)}; it is cut off or another archive: remove it")
    return [found[name] for name in wanted]


def _check_member(member: tarfile.TarInfo, path: Path) -> None:
    """Refuse archives with paths outside the folder, although nothing is written."""
    parts = member.name.replace("\\", "/").split("/")
    if member.name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        raise FileError(f"{path} holds the path {member.name!r}, which leads out of a folder; do not use this archive")
    if not (member.isreg() or member.isdir()):
        raise FileError(f"{path} holds {member.name!r}, a link or a device; do not use this archive")


class _Limited(io.RawIOBase):
    """A stream that ends in a ValueError when more than `limit` bytes are read from it."""

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self.stream, self.left = stream, limit

    def read(self, size: int = -1) -> bytes:
        chunk = self.stream.read(min(size, self.left + 1) if size >= 0 else self.left + 1)
        self.left -= len(chunk)
        if self.left < 0:
            raise FileError("the archive holds far more than the data set; do not use it")
        return chunk


def parse_records(content: bytes, count: int, label_limits: Sequence[int], name: str | Path) -> np.ndarray:
    """Return a `.bin` file as uint8 `[count, labels + pixels]`; ValueError unless sizes and labels are right."""
    record = len(label_limits) + PIXEL_BYTES
    if len(content) != count * record:
        raise FileError(f"{name}: {count:,} records make {count * record:,} bytes, got {len(content):,}; it is cut")
    records = np.frombuffer(content, np.uint8).reshape(count, record)
    for column, limit in enumerate(label_limits):
        largest = records[:, column].max()
        if largest >= limit:
            raise FileError(f"{name}: label {column} must be below {limit}, got {largest}; it is another data set")
    return records


def _finish(records: np.ndarray, labels: np.ndarray, raw: bool) -> Split:
    """Images `[n, 32, 32, 3]` and labels `[n]`; the file has the red plane first, then green, then blue."""
    pixels = records[:, -PIXEL_BYTES:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    images = np.ascontiguousarray(pixels) if raw else np.divide(pixels, np.float32(255), dtype=np.float32, order="C")
    return images, labels.astype(np.int32)
