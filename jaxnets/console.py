"""What all commands have in common: their name as it was typed, and the errors of their users."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from jaxnets.errors import SettingError, UserError


def typed_command() -> str:
    """Return the command that started this process, without its options, as one types it.

    `python -m experiments.digits_cnn`, `jaxnets` for a script that pip installed, `python train.py` for any other.
    """
    spec = sys.modules["__main__"].__spec__
    if spec is not None:
        return f"python -m {spec.name.removesuffix('.__main__')}"
    return f"python {sys.argv[0]}" if sys.argv[0].endswith(".py") else Path(sys.argv[0]).name


def library_command() -> str:
    """Return `python -m jaxnets` or `jaxnets`, whichever was typed; `jaxnets` where a program calls its commands.

    Example:
        >>> library_command().endswith("jaxnets")
        True
    """
    command = typed_command()
    return command if command == "python -m jaxnets" else "jaxnets"


@contextlib.contextmanager
def user_errors(command: str) -> Iterator[None]:
    """End the process with a message on standard error, in place of a traceback, if its user can correct the error.

    Such are `jaxnets.errors.UserError`, and OSError: a file that is missing or cannot be written. The exit status is 2
    for a setting and 1 for anything else. The error of a program passes, with its traceback.

    Args:
        command: as it was typed, with which the message begins. It is one line, but for the list of missing data files.

    Raises:
        SystemExit: in place of such an error.

    Example:
        >>> with user_errors("jaxnets train"):
        ...     raise SettingError("epochs must be at least 1, got 0")
        Traceback (most recent call last):
        ...
        SystemExit: 2
    """
    try:
        yield
    except (UserError, OSError) as error:
        print(f"{command}: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, SettingError) else 1)
