"""Downloads that resume after a cut connection; a file appears only when it is complete and verified."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import re
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

CHUNK_BYTES = 1 << 18
_BUSY, _TRIES = (429, 500, 502, 503, 504), 4
"""The answers of a server that is busy or restarts, and how often it is asked before the next mirror is."""
Report = Callable[[int], None]


def download(urls: Sequence[str], path: Path, *, size: int, sha256: str, timeout: float = 30.0) -> None:
    """Download a file from the first of several mirrors that has it.

    The bytes are written to `path` + `.part`. After a cut connection, this or a later call resumes there; only a file
    of the right size and SHA-256 is moved to `path`, atomically. Of several processes one downloads, the others wait.
    A mirror that is busy (HTTP 429, 500, 502, 503 or 504) is asked up to four times.

    Args:
        urls: the file at its mirrors, in the order to try them.
        path: where to put it; folders are created.
        size: its bytes. A mirror that sends another number is skipped at once.
        sha256: of the file, in hexadecimal.
        timeout: seconds to wait for the connection and for each piece of data.

    Raises:
        ConnectionError: if no mirror has it, with the reason for each, or none is given.
        OSError: if the folder cannot be written.

    Example:
        `download([url], Path("names.txt"), size=228_145, sha256="0a30...")`
    """
    if not urls:
        raise ConnectionError(f"no mirror is known that has {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.parent):
        if path.exists():  # another process has downloaded it in the meantime
            return
        part = path.with_name(path.name + ".part")
        reasons = []
        with _progress(path.name, size, urls[0]) as report:
            for url in urls:
                try:
                    _complete(url, part, size, sha256, timeout, report)
                except (OSError, http.client.HTTPException, _WrongFileError) as error:
                    if isinstance(error, OSError) and not _is_network_error(error):
                        raise
                    reasons.append(f"{url}: {error or type(error).__name__}")
                else:
                    part.replace(path)
                    return
    raise ConnectionError(f"could not download {path.name}:\n" + "\n".join(f"  {reason}" for reason in reasons))


class _WrongFileError(Exception):
    """A mirror sent another file."""


class _CutError(ConnectionError):
    """The connection ended early; the received bytes are kept."""


def _complete(url: str, part: Path, size: int, sha256: str, timeout: float, report: Report) -> None:
    """Complete and verify `part`; if the bytes of an earlier call do not fit, start again.

    The earlier bytes are then kept aside, and restored if the new download ends with fewer.
    """
    resumed = part.exists()
    try:
        _fetch(url, part, size, timeout, report)
        _verify(part, sha256)
    except _WrongFileError:
        if not resumed or part.stat().st_size >= size:  # complete, but another file
            part.unlink(missing_ok=True)
        if not resumed:
            raise
        kept = part.with_name(part.name + ".kept")
        if part.exists():
            part.replace(kept)
        try:
            _complete(url, part, size, sha256, timeout, report)
        finally:
            if kept.exists() and (not part.exists() or part.stat().st_size <= kept.stat().st_size):
                kept.replace(part)
            kept.unlink(missing_ok=True)


def _fetch(url: str, part: Path, size: int, timeout: float, report: Report) -> None:
    """Complete `part` from `url`: resume after each cut while new bytes arrive, and wait for a busy server."""
    tries = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        if before > size:
            raise _WrongFileError(f"left {before:,} bytes where {size:,} were expected")
        if before == size:
            return
        try:
            _fetch_once(url, part, before, size, timeout, report)
        except urllib.error.HTTPError as error:
            tries += 1
            if error.code not in _BUSY or tries == _TRIES:
                raise
            time.sleep(_seconds_to_wait(error.headers.get("Retry-After"), tries))
        except (_CutError, TimeoutError, ConnectionError, http.client.IncompleteRead):
            if not part.exists() or part.stat().st_size <= before:
                raise


def _seconds_to_wait(asked: str | None, tries: int) -> float:
    """What a busy server asks for, else twice as long at every try; half a minute at most."""
    return min(float(asked) if asked and asked.isdigit() else 2.0 ** (tries - 1), 30.0)


def _fetch_once(url: str, part: Path, before: int, size: int, timeout: float, report: Report) -> None:
    headers = {"User-Agent": "jaxnets", "Accept-Encoding": "identity"}
    if before:
        headers["Range"] = f"bytes={before}-"
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and before:
            raise _WrongFileError(f"has nothing after the first {before:,} bytes") from error
        raise
    with response:
        count = _expected(response, before, size)
        length = response.headers.get("Content-Length")
        if length is not None and length.strip() != str(count):
            raise _WrongFileError(f"announces {length} bytes where {count} were expected")
        with part.open("ab") as file:
            report(before)
            _copy(response, file, count, report)
            file.flush()
            os.fsync(file.fileno())


def _expected(response: Any, before: int, size: int) -> int:
    """The number of bytes in a response that resumes after the first `before`: all others, or as many as it states."""
    if response.status != http.client.PARTIAL_CONTENT:
        if before:
            raise _WrongFileError(f"does not resume after the first {before:,} bytes")
        return size
    match = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if (
        match is None
        or int(match[1]) != before
        or not before <= int(match[2]) < size
        or match[3] not in (str(size), "*")
    ):
        raise _WrongFileError(f"answers with the range {response.headers.get('Content-Range')!r}")
    return int(match[2]) + 1 - before


def _copy(response: Any, file: IO[bytes], count: int, report: Report) -> None:
    """Copy `count` bytes; raise if there are fewer or more."""
    left = count
    while left:
        chunk = response.read1(min(CHUNK_BYTES, left))
        if not chunk:
            raise _CutError(f"sent {count - left} bytes where {count} were expected")
        file.write(chunk)
        left -= len(chunk)
        report(file.tell())
    if response.read1(1):
        raise _WrongFileError(f"sends more than the expected {count} bytes")


def _verify(part: Path, sha256: str) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise _WrongFileError(f"sent a file with SHA-256 {found} where {sha256} was expected")


def _is_network_error(error: OSError) -> bool:
    """Whether the error is the mirror's, and not of this machine's disk."""
    return isinstance(error, urllib.error.URLError | ConnectionError | TimeoutError | ssl.SSLError)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from downloading into the folder; without `fcntl` (Windows) there is no lock."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # file systems without locks: the SHA-256 is still checked
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _progress(name: str, size: int, url: str) -> Iterator[Report]:
    """Show the progress on standard error: a bar in a terminal with rich, else one line."""
    try:
        from rich import progress
        from rich.console import Console
    except ImportError:
        terminal = False
    else:
        console = Console(stderr=True)
        terminal = console.is_terminal
    if not terminal:
        print(f"downloading {name} ({size:,} bytes) from {urllib.parse.urlsplit(url).netloc}", file=sys.stderr)
        yield lambda done: None
        return
    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=size)
        yield lambda done: bar.update(task, completed=done)
