"""Lines of text files: decoded strictly, divided at line feeds only, and none of them empty."""

from __future__ import annotations

import lzma
import tarfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from jaxnets.data.files import DataFile, data_folder, find, load_files
from jaxnets.errors import FileError


def text_lines(content: bytes, name: str, *, encoding: str = "utf-8") -> list[str]:
    r"""Return the lines of a text file, without white space at their ends.

    A line ends at a line feed, not where `str.splitlines` sees an end, which would also cut at U+0085 within a line.

    Args:
        content: of the file.
        name: of the file, for errors.
        encoding: of the text.

    Raises:
        ValueError: if the text has another encoding or a line is empty, with the name and the line.

    Example:
        >>> text_lines(b"one\x85 line\nanother \n", "lines.txt", encoding="latin-1")
        ['one\x85 line', 'another']
    """
    raw = content.removesuffix(b"\n").split(b"\n") if content else []
    lines = []
    for number, line in enumerate(raw, 1):
        try:
            text = line.decode(encoding).strip(" \t\r")
        except UnicodeDecodeError as error:
            raise FileError(f"{name}, line {number}: the text is not {encoding.upper()}: {error}") from error
        if not text:
            raise FileError(f"{name}, line {number} is empty; every line must hold a sentence")
        lines.append(text)
    return lines


def load_packed(archive: str, files: Sequence[DataFile]) -> list[bytes]:
    """Return the contents of files: from an archive in the data folder if that is there, else as `load_files`.

    Args:
        archive: a `.tar.xz` file, relative to the data folder, whose members have the names of the files.
        files: what to read. Files that lie in the data folder unpacked are preferred.

    Raises:
        FileNotFoundError: if files are missing and cannot be downloaded.
        ValueError: if the archive or a file is damaged.
    """
    path = data_folder() / archive
    if any(find(file) is None for file in files) and path.is_file():
        return _read_archive(path, files)
    return load_files(files)


def _read_archive(path: Path, files: Sequence[DataFile]) -> list[bytes]:
    wanted = {_member(file): file for file in files}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:xz") as archive:
            for member in archive:
                name = member.name.removeprefix("./")
                if name in wanted and member.isreg() and member.size == wanted[name].content_size:
                    stream = archive.extractfile(member)
                    found[name] = stream.read() if stream is not None else b""
                if len(found) == len(wanted):
                    break
    except (tarfile.TarError, lzma.LZMAError, EOFError, OSError, OverflowError) as error:
        raise FileError(f"{path} is not a complete tar.xz archive: {error}") from error
    for name, file in wanted.items():
        if name not in found:
            raise FileError(f"{path} has no {name} of {file.content_size:,} bytes; remove it to download the files")
        digest = sha256(found[name]).hexdigest()
        if digest != file.content_sha256:
            raise FileError(f"{path}: {name} has SHA-256 {digest} where {file.content_sha256} was expected")
    return [found[_member(file)] for file in files]


def _member(file: DataFile) -> str:
    return Path(file.path).name.removesuffix(".gz")
