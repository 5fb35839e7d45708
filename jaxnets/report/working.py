"""What a program does while nothing else shows it, such as a long call of a compiled function."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from jaxnets.extras import needed_for
from jaxnets.processes import is_first
from jaxnets.report.progress import is_live

if TYPE_CHECKING:
    from rich.console import Console


@contextlib.contextmanager
def working(what: str, console: Console | None = None) -> Iterator[None]:
    """Say what the program does in a block that shows nothing itself; `fit` has `progress` for this.

    In a terminal this is a line with the time so far, which goes when the block ends. Elsewhere (a file, a pipe, a
    notebook) it is one plain line at the beginning. In several processes, the first one alone shows it.

    Args:
        what: the program does: `training 160 networks`.
        console: where to write; by default standard error, so that a program's output can be piped.

    Raises:
        ImportError: if rich is not installed: `pip install 'jaxnets[experiments]'`.

    Example:
        >>> with working("training 160 networks"):
        ...     total = sum(range(10))
        >>> total
        45
    """
    with needed_for("report.working"):
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = console or Console(stderr=True)
    if not (is_first() and is_live(console)):
        if is_first():
            console.print(f"{what} ...", soft_wrap=True, markup=False, highlight=False)
        yield
        return
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as shown:
        shown.add_task(what, total=None)
        yield
