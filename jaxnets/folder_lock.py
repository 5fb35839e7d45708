"""One process at a time in a folder of a run."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path
from typing import IO

_HELD: dict[Path, IO[str]] = {}
"""The lock files that this process holds, by folder; they are free again when it ends, however it does."""


class FolderInUseError(ValueError):
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
    file = (folder / ".lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        raise FolderInUseError(f"{folder} is in use by {holder}; wait until it ends, or take another folder") from None
    except OSError:  # the file system has no locks
        file.close()
        return
    file.truncate(0)
    now = datetime.datetime.now().isoformat(sep=" ", timespec="seconds")
    file.write(f"process {os.getpid()} on {platform.node()} since {now}\n")
    file.flush()
    _HELD[folder] = file


def unlock_folder(folder: Path) -> None:
    """Give the lock of a folder back, if this process holds it.

    Example:
        >>> unlock_folder(Path("no such folder"))
    """
    file = _HELD.pop(folder.expanduser().resolve(), None)
    if file is not None:
        file.close()
