"""Where the files of data sets are, and how they are read: verified, with size limits, never unpickled."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import sys
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, NamedTuple

from jaxnets.data.download import download
from jaxnets.errors import FileError

PIECE_BYTES = 1 << 18
MAX_XZ_MEMORY = 1 << 27
"""Bytes that the decoder of `.xz` files may take; files made with the highest preset need half of it."""


class DataFile(NamedTuple):
    """A file of a data set: where it is, and how it is verified.

    Attributes:
        path: in the data folder, as the mirrors serve it, such as `mnist/train-labels-idx1-ubyte.gz`.
        urls: its mirrors.
        size: bytes of the download.
        sha256: of the download.
        content_size: bytes of the content: after decompression if it ends in `.gz` and is not an archive.
        content_sha256: of the content; None if it is not published.
    """

    path: str
    urls: tuple[str, ...]
    size: int
    sha256: str
    content_size: int
    content_sha256: str | None


def data_folder() -> Path:
    """Return the folder of data files: the environment variable `JAXNETS_DATA`, else `jaxnets` in the user's cache.

    That cache is `~/.cache` (or `XDG_CACHE_HOME`) on Linux, `~/Library/Caches` on macOS and `LOCALAPPDATA` on Windows.
    The folder need not exist.

    Example:
        After `export JAXNETS_DATA=/data` it is `Path("/data")`.
    """
    chosen = os.environ.get("JAXNETS_DATA")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "jaxnets"
    variable, default = ("LOCALAPPDATA", "AppData/Local") if os.name == "nt" else ("XDG_CACHE_HOME", ".cache")
    cache = os.environ.get(variable)
    return (Path(cache) if cache else Path.home() / default) / "jaxnets"


def plain_file(path: str, *urls: str, size: int, sha256: str) -> DataFile:
    """Describe a file that mirrors serve uncompressed."""
    return DataFile(path, urls, size, sha256, size, sha256)


def load_files(files: Sequence[DataFile]) -> list[bytes]:
    """Return the contents of files, downloading those that are missing from the data folder.

    A file may be in the data folder as it is, or compressed: `name`, `name.gz` or `name.xz`.

    Raises:
        FileNotFoundError: if files are missing and cannot be downloaded; the error lists them and where to put them.
        ValueError: if a file is not the expected one.
    """
    return [read_verified(path, file) for path, file in zip(locate(files), files, strict=True)]


def locate(files: Sequence[DataFile]) -> list[Path]:
    """Return the path of each file; missing ones are downloaded first."""
    for file in (file for file in files if find(file) is None):
        try:
            download(file.urls, data_folder() / file.path, size=file.size, sha256=file.sha256)
        except OSError as error:
            missing = [file for file in files if find(file) is None]
            raise FileNotFoundError(_how_to_get(missing, error)) from error
    return [find(file) or data_folder() / file.path for file in files]


def find(file: DataFile) -> Path | None:
    """Return the path of the file in the data folder, or None."""
    path = data_folder() / file.path
    plain = path.with_suffix("") if path.suffix == ".gz" and not path.stem.endswith(".tar") else path
    candidates = plain, plain.with_name(plain.name + ".gz"), plain.with_name(plain.name + ".xz")
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def read_verified(path: Path, file: DataFile) -> bytes:
    """Return the content of the file at `path`; ValueError if it does not match `file`."""
    content = read_content(path, file.content_size, advice=_REPLACE)
    if len(content) != file.content_size:
        raise FileError(f"{path} holds {len(content):,} bytes where {file.content_size:,} were expected{_REPLACE}")
    if file.content_sha256 is None and path.suffix != ".gz":
        warnings.warn(f"{path} is not verified: only the compressed file's SHA-256 is published", stacklevel=5)
        return content
    checked, expected = (content, file.content_sha256) if file.content_sha256 else (path.read_bytes(), file.sha256)
    found = hashlib.sha256(checked).hexdigest()
    if found != expected:
        raise FileError(f"{path} has content of SHA-256 {found} where {expected} was expected{_REPLACE}")
    return content


def read_content(path: Path, max_bytes: int, *, advice: str = "") -> bytes:
    """Return the bytes of a file, decompressed if its name ends in `.gz` or `.xz`, at most `max_bytes`.

    No more memory is taken than twice what is read, however large `max_bytes` is.

    Args:
        path: the file.
        max_bytes: the most bytes that it may have.
        advice: what to do about a damaged file, for the error.

    Raises:
        ValueError: if there are more, or the compressed data are damaged.
    """
    with path.open("rb") as file:
        try:
            if path.suffix == ".gz":
                with gzip.GzipFile(fileobj=file) as stream:
                    content = _read_at_most(stream, max_bytes + 1)
            elif path.suffix == ".xz":
                content = _read_xz(file, max_bytes + 1)
            else:
                content = _read_at_most(file, max_bytes + 1)
        except (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError) as error:
            raise FileError(
                f"{path} is not a complete {'xz' if path.suffix == '.xz' else 'gzip'} file: {error}{advice}"
            ) from error
    if len(content) > max_bytes:
        raise FileError(f"{path} holds more than the expected {max_bytes:,} bytes{advice}")
    return content


def _read_at_most(stream: IO[bytes] | gzip.GzipFile, count: int) -> bytes:
    """Read in pieces, because `read(count)` takes the memory of `count` bytes before it reads."""
    pieces = []
    while count and (piece := stream.read(min(count, PIECE_BYTES))):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def _read_xz(file: IO[bytes], count: int) -> bytes:
    """Decompress at most `count` bytes, with limited memory."""
    decoder, pieces = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_XZ_MEMORY), []
    while count and not decoder.eof:
        packed = file.read(PIECE_BYTES) if decoder.needs_input else b""
        if decoder.needs_input and not packed:
            raise EOFError("it ends before its end marker")
        pieces.append(decoder.decompress(packed, min(count, PIECE_BYTES)))
        count -= len(pieces[-1])
    return b"".join(pieces)


_REPLACE = "; it is cut off, damaged or another file: remove it to download the right one"


def _how_to_get(missing: Sequence[DataFile], error: OSError) -> str:
    """Which files are missing, where to get them and where to put them."""
    lines = [f"{len(missing)} data file(s) are missing in {data_folder()} and could not be downloaded: {error}"]
    lines.append("Put these files there by hand (or set JAXNETS_DATA to the folder that has them):")
    for file in missing:
        lines.append(f"  {data_folder() / file.path}")
        lines.append(f"    {file.size:,} bytes, SHA-256 {file.sha256}")
        lines.extend(f"    from {url}" for url in file.urls)
    return "\n".join(lines)
