"""Data sets in files that are read example by example: shards of ArrayRecord, with a manifest.

A folder of shards holds `manifest.json` and files such as `00003.array_record`. A record is the CRC-32 of what follows,
and then the bytes of the example's fields one after the other, numbers with the least byte first.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnets.errors import FileError
from jaxnets.extras import needed_for
from jaxnets.integers import as_integer
from jaxnets.tree import describe

MANIFEST = "manifest.json"
_FORMAT = 1
_CRC = 4
"""Bytes of a checksum."""
_CUT_AT_ONCE = 1 << 18
"""Bytes of small records that are joined, to cut their fields by one copy each; a large record is not copied for it."""


class Field(NamedTuple):
    """An array of every example.

    Attributes:
        name: such as `"image"`.
        dtype: NumPy's name of it.
        shape: the same in all examples.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """How many bytes it takes."""
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


class Shards:
    """The examples of a folder that `write_shards` made, by number; for `Source(read_shards(folder))`.

    Attributes:
        folder: where they are.
        fields: of each example.
        info: what was written with them, such as the names of the classes.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]):
        self.folder = folder
        self.fields = tuple(Field(f["name"], f["dtype"], tuple(f["shape"])) for f in manifest["fields"])
        self.info: dict[str, Any] = dict(manifest["info"])
        self._shards: list[dict[str, Any]] = list(manifest["shards"])
        _check_manifest(self.fields, self._shards)
        self._ends = np.cumsum([shard["examples"] for shard in self._shards])
        self._readers = threading.local()  # a reader is for one thread

    def __len__(self) -> int:
        """The number of examples."""
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Any:
        """Read an example: an array, or a tuple of arrays if it has several fields."""
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Read several examples, each file once."""
        taken = self.read_batch(indices)
        columns = taken if isinstance(taken, tuple) else (taken,)
        rows = [tuple(column[i, ...] for column in columns) for i in range(len(indices))]
        return rows if isinstance(taken, tuple) else [row[0] for row in rows]

    def read_batch(self, indices: Sequence[int] | np.ndarray) -> Any:
        """Read several examples, each file once, as an array `[examples, ...]` or a tuple of such arrays."""
        numbers = np.asarray(indices)
        if numbers.size and numbers.dtype.kind not in "iu":
            raise TypeError(f"examples are taken by their numbers, integers; got {describe(indices)}")
        numbers = numbers.astype(np.int64)
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(
                f"{self.folder} has the examples 0 to {len(self) - 1}, got {numbers.min()} to {numbers.max()}"
            )
        columns = [np.empty((len(numbers), field.bytes), np.uint8) for field in self.fields]
        places = np.searchsorted(self._ends, numbers, side="right")
        for shard in np.unique(places):
            here = np.flatnonzero(places == shard)
            first = int(self._ends[shard]) - self._shards[shard]["examples"]
            self._read(int(shard), (numbers[here] - first).tolist(), here, columns)
        arrays = tuple(map(_typed, columns, self.fields))
        return arrays[0] if len(arrays) == 1 else arrays

    def checksum(self) -> int:
        """Return a checksum of all files, as their manifest says."""
        return zlib.crc32("".join(shard["sha256"] for shard in self._shards).encode())

    def verify(self) -> None:
        """Read all files and compare them with the manifest.

        Raises:
            ValueError: if a file is damaged, with its name.
        """
        for number, shard in enumerate(self._shards):
            path = self._checked_path(number)
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != shard["sha256"]:
                    raise FileError(f"{path} is damaged: its SHA-256 is not that of the manifest; prepare it again")

    def _read(self, shard: int, rows: list[int], places: np.ndarray, columns: list[np.ndarray]) -> None:
        """Read rows of a file into these places of arrays `[examples, bytes]`, one a field."""
        reader = self._reader(shard)
        try:
            records = reader.read(rows)
        except (RuntimeError, ValueError, IndexError) as error:
            row = next((row for row in rows if not _readable(reader, row)), rows[0])
            raise self._damaged(shard, row, str(error)) from error
        expected = _CRC + sum(field.bytes for field in self.fields)
        for record, row in zip(records, rows, strict=True):
            checksum = int.from_bytes(record[:_CRC], "little")
            if len(record) != expected or zlib.crc32(memoryview(record)[_CRC:]) != checksum:
                raise self._damaged(shard, row, f"its {len(record)} bytes are not those that were written")
        together = max(1, _CUT_AT_ONCE // expected)
        for first in range(0, len(records), together):
            some = slice(first, first + together)
            self._cut(b"".join(records[some]), places[some], columns)

    def _cut(self, records: bytes, places: np.ndarray, columns: list[np.ndarray]) -> None:
        """Write the fields of records, one after the other, into these places of their columns."""
        table, start = np.frombuffer(records, np.uint8).reshape(len(places), -1), _CRC
        for column, field in zip(columns, self.fields, strict=True):
            column[places] = table[:, start : start + field.bytes]
            start += field.bytes

    def _reader(self, shard: int) -> Any:
        readers: dict[Any, Any] = self._readers.__dict__
        if shard not in readers:
            path, module = self._checked_path(shard), array_record()
            try:
                reader = module.ArrayRecordReader(str(path), "readahead_buffer_size:0")
                count = reader.num_records()
            except (RuntimeError, ValueError) as error:
                raise FileError(f"{path} is damaged: {error}; {self._lost(shard)}") from error
            if count != self._shards[shard]["examples"]:
                raise FileError(
                    f"{path} is damaged: it holds {count} records, and {self._shards[shard]['examples']} were written; "
                    f"{self._lost(shard)}"
                )
            readers[shard] = reader
        return readers[shard]

    def _checked_path(self, shard: int) -> Path:
        path: Path = self.folder / self._shards[shard]["file"]
        size = self._shards[shard]["bytes"]
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing, which {self.folder / MANIFEST} names; {self._lost(shard)}")
        if path.stat().st_size != size:
            raise FileError(f"{path} is damaged: it has {path.stat().st_size} of {size} bytes; {self._lost(shard)}")
        return path

    def _lost(self, shard: int) -> str:
        """Which records cannot be read without a file, whose list of records is at its end."""
        last = int(self._ends[shard]) - 1
        first = last + 1 - self._shards[shard]["examples"]
        return f"its records, the examples {first} to {last}, cannot be read; prepare it again"

    def _damaged(self, shard: int, row: int, why: str) -> ValueError:
        path = self.folder / self._shards[shard]["file"]
        return ValueError(f"{path} is damaged at record {row}: {why}; prepare it again")


def _check_manifest(fields: Sequence[Field], shards: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError or TypeError unless a data set could be like this."""
    for field in fields:
        if field.bytes < 0 or min(field.shape, default=0) < 0:
            raise ValueError(f"the shape {list(field.shape)} of {field.name!r}")
    for shard in shards:
        sizes = [shard["examples"], shard["bytes"]]
        if not all(isinstance(size, int) and size > 0 for size in sizes) or not isinstance(shard["sha256"], str):
            raise ValueError(f"{shard['file']!r} of {sizes[0]} examples and {sizes[1]} bytes")
    if not shards:
        raise ValueError("it names no files")


def _typed(column: np.ndarray, field: Field) -> np.ndarray:
    """The numbers `[examples, ...]` of bytes `[examples, bytes]`."""
    stored = column.view(np.dtype(field.dtype).newbyteorder("<")) if column.size else np.empty(0, field.dtype)
    return stored.reshape(len(column), *field.shape).astype(field.dtype, copy=False)


def write_shards(
    folder: str | os.PathLike[str],
    examples: Iterable[Any],
    names: Sequence[str],
    *,
    per_shard: int = 10_000,
    info: Mapping[str, Any] | None = None,
) -> Shards:
    """Write examples into files that are read example by example, one file at a time in memory.

    The manifest is written last, so that a folder that was not finished has none.

    Args:
        folder: a new or empty one.
        examples: arrays, or tuples of arrays; all with the same dtypes and shapes.
        names: of the arrays of an example.
        per_shard: examples a file; files are what is copied and checked at a time.
        info: what else to keep, as JSON holds it, such as the names of the classes.

    Returns:
        The data set, as `read_shards` reads it.

    Raises:
        ValueError: if there is no example, one is not like the first, a name is there twice, or the folder is not
            empty.
        TypeError: if an example has something else than numbers, or `info` cannot be stored as JSON.
        ImportError: if `array-record` is not installed.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> written = write_shards(folder, ((np.full(3, i, np.uint8), np.int32(i % 2)) for i in range(5)), ["x", "y"])
        >>> len(written), written[4]
        (5, (array([4, 4, 4], dtype=uint8), array(0, dtype=int32)))
    """
    per_shard = as_integer("write_shards", "per_shard", per_shard, at_least=1)
    if isinstance(names, str) or len(set(names)) < len(names):
        raise ValueError(f"write_shards: names must be a list of different names, got {names!r}")
    try:
        json.dumps(dict(info or {}))  # before hours of writing
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"write_shards: info must be a dict of what JSON can hold: {error}; write lists, not arrays"
        ) from error
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ValueError(f"write_shards: {folder} is not empty; choose another folder, or delete what is in it")
    module, fields, writer, count = array_record(), None, None, 0
    shards: list[dict[str, Any]] = []
    for number, example in enumerate(examples):
        arrays = [np.asarray(array) for array in (example if isinstance(example, tuple) else (example,))]
        found = _fields(arrays, names, number)
        fields = fields or found
        if found != fields:
            raise ValueError(f"write_shards: example {number} is {found}, unlike the first, {fields}")
        if writer is None:
            shards.append({"file": f"{len(shards):05d}.array_record"})
            writer = module.ArrayRecordWriter(str(folder / shards[-1]["file"]), "group_size:1")
        body = b"".join(np.ascontiguousarray(a, a.dtype.newbyteorder("<")).tobytes() for a in arrays)
        writer.write(zlib.crc32(body).to_bytes(_CRC, "little") + body)
        count += 1
        if count == per_shard:
            _finish(writer, folder, shards[-1], count)
            writer, count = None, 0
    if fields is None:
        raise ValueError("write_shards: there is no example")
    if writer is not None:
        _finish(writer, folder, shards[-1], count)
    manifest = {"format": _FORMAT, "fields": [f._asdict() for f in fields], "info": dict(info or {}), "shards": shards}
    temporary = folder / f"{MANIFEST}.unfinished"
    temporary.write_text(json.dumps(manifest, indent=1))
    temporary.rename(folder / MANIFEST)
    return read_shards(folder)


def read_shards(folder: str | os.PathLike[str]) -> Shards:
    """Open a folder of shards, of which nothing is read yet but the manifest.

    Args:
        folder: as `write_shards` or `python -m jaxnets prepare` made it.

    Returns:
        Examples by number.

    Raises:
        FileNotFoundError: if there is no manifest: nothing is there, or writing was not finished.
        ValueError: if the manifest is damaged.
    """
    folder = Path(folder).expanduser()
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"read_shards: there is no {path}; make it by python -m jaxnets prepare")
    try:
        manifest = json.loads(path.read_text())
        if manifest["format"] != _FORMAT:
            raise ValueError(f"format {manifest['format']} is not known, only {_FORMAT}")
        return Shards(folder, manifest)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise FileError(f"{path} is damaged: {error!r}; prepare it again") from error


def array_record() -> Any:
    """Import the library of the files, or say how to install it."""
    with needed_for("reading or writing shards"):
        from array_record.python import array_record_module
    return array_record_module


def _fields(arrays: Sequence[np.ndarray], names: Sequence[str], number: int) -> list[Field]:
    if len(arrays) != len(names):
        raise ValueError(
            f"write_shards: example {number} has {len(arrays)} arrays, but there are the names {list(names)}"
        )
    for name, array in zip(names, arrays, strict=True):
        if array.dtype.kind in "OSU" or array.dtype.names is not None:
            raise TypeError(
                f"write_shards: {name!r} of example {number} holds {array.dtype}, no numbers; give an array of "
                "numbers, or a tuple of them, with texts as codes"
            )
    return [Field(name, array.dtype.name, array.shape) for name, array in zip(names, arrays, strict=True)]


def _finish(writer: Any, folder: Path, shard: dict[str, Any], count: int) -> None:
    writer.close()
    path = folder / shard["file"]
    with path.open("rb") as file:
        shard |= {
            "examples": count,
            "bytes": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }


def _readable(reader: Any, row: int) -> bool:
    try:
        reader.read([row])
    except (RuntimeError, ValueError, IndexError):
        return False
    return True
