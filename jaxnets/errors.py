"""Errors that whoever runs a program can correct by their message; a command shows it on one line, without traceback.

Each is a ValueError, an OSError or an ImportError too, as which the functions that raise it document it. Any other
error is one of a program, and keeps its traceback.
"""

from __future__ import annotations


class UserError(Exception):
    """What is wrong is said by the message alone.

    Example:
        >>> issubclass(SettingError, UserError), issubclass(SettingError, ValueError)
        (True, True)
    """


class SettingError(UserError, ValueError):
    """A setting has a value that it cannot have, such as 0 epochs, or heads that do not divide the features."""


class RunFolderError(UserError, ValueError):
    """A folder cannot be that of this run, because it holds another one or something else."""


class FileError(UserError, ValueError):
    """A file of data or weights is damaged, cut off, or another one than it should be; the message names it."""


class SaveError(UserError, OSError):
    """A checkpoint could not be written, because the disk is full or the like; the one before is complete."""


class MissingPackageError(UserError, ModuleNotFoundError):
    """A package of one of the extras is not installed; the message has the command that installs it."""
