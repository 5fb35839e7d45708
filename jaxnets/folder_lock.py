"""One process at a time in a folder of a run, and one writer at a time in any folder."""

from __future__ import annotations

import contextlib
import datetime
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from jaxnets.errors import RunFolderError

_HELD: dict[Path, int] = {}
"""Descriptors of the lock files that this process holds, by folder; the system frees them when it ends."""


class FolderInUseError(RunFolderError):
    """Another process works in the folder of a run."""


def lock_folder(folder: Path) -> None:
    """Take the lock of a folder until `unlock_folder`, or until this process ends; a killed one leaves none.

    It is a lock of the operating system on the file `.lock`, which says who holds it. Where there are none, as on
    Windows and some network drives, nothing is locked.

    Args:
        folder: an existing folder.

    Raises:
        FolderInUseError: if another process holds it, with its number, machine and command.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lock_folder(Path(folder))
        ...     lock_folder(Path(folder))  # this process may do so twice
        ...     unlock_folder(Path(folder))
    """
    try:
        import fcntl
    except ImportError:
        return
    folder = folder.expanduser().resolve()
    if folder in _HELD:
        return
    file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(file, 1000).decode(errors="replace").strip() or "another process"
        os.close(file)
        raise FolderInUseError(f"{folder} is in use by {holder}; wait until it ends, or take another folder") from None
    except OSError:  # the file system has no locks
        os.close(file)
        return
    now = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
    os.truncate(file, 0)
    os.write(file, f"process {os.getpid()} on {platform.node()} since {now}\n".encode())
    _HELD[folder] = file


def unlock_folder(folder: Path) -> None:
    """Give the lock of a folder back, if this process holds it.

    Example:
        >>> unlock_folder(Path("no such folder"))
    """
    file = _HELD.pop(folder.expanduser().resolve(), None)
    if file is not None:
        os.close(file)


@contextlib.contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Wait until no other process or thread is in this context with the same folder, as far as the system has locks.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder, one_writer(Path(folder)):
        ...     _ = (Path(folder) / "text").write_text("whole")
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    directory = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # the file system has no locks
            fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)
