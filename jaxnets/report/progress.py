"""The progress of `fit`: a live bar in a terminal and in a notebook, one line per epoch elsewhere."""

from __future__ import annotations

import collections
import os
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnets.extras import needed_for
from jaxnets.processes import is_first
from jaxnets.training.event import Callback, Event

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live


def progress(console: Console | None = None) -> Callback:
    """Make a callback of `fit` that shows its progress.

    In a terminal this is a bar with the epoch, the remaining time and examples per second, and below it the metrics of
    the last steps and the last validation; in a notebook (Jupyter, Colab) the same below a table of the epochs, with a
    clock that also runs while XLA compiles. Elsewhere (a file, a pipe, the log of a CI run, a terminal that cannot move
    its cursor) it is one plain line per epoch. All end with one summary line. Examples per second exclude compilation,
    evaluation and callbacks.

    In several processes, the first one alone shows it.

    Put it first among the callbacks, so that the bar is removed before another callback can fail at the end.

    Args:
        console: where to write; by default standard error, so that a program's output can be piped.

    Returns:
        A callback for one run of `fit` at a time.

    Raises:
        ImportError: if rich is not installed: `pip install 'jaxnets[experiments]'`.

    Example:
        `fit(..., callbacks=[progress()])`
    """
    with needed_for("report.progress"):
        from rich.console import Console

    if not is_first():
        return lambda event: None
    if console is None:
        console = Console(stderr=True)
        if console.is_jupyter:
            from jaxnets.report.notebook_bar import NotebookBar

            return NotebookBar()
    return _LiveBar(console) if is_live(console) else _Lines(console)


def is_live(console: Console) -> bool:
    """Whether lines can be drawn again. FORCE_COLOR asks for colors: it makes no terminal of a file."""
    forced = bool(os.environ.get("FORCE_COLOR")) and not getattr(console.file, "isatty", bool)()
    return console.is_terminal and not console.is_dumb_terminal and not forced


class Status:
    """The latest metrics of every split and the speed, for all forms."""

    def __init__(self) -> None:
        self.metrics: dict[str, str] = {}
        self.started = self.previous = time.perf_counter()
        self.compiled = False
        # Number of examples and seconds of the latest dispatches.
        self.dispatches: collections.deque[tuple[int, float]] = collections.deque(maxlen=50)

    def update(self, event: Event) -> None:
        """Take in an event."""
        now = time.perf_counter()
        if event.kind == "steps":
            if self.compiled:
                self.dispatches.append((event.examples, now - self.previous))
            self.compiled = True  # the first dispatch includes the compilation
        if event.metrics:
            self.metrics[event.split] = format_metrics(event.metrics)
        self.previous = now

    def speed(self) -> str:
        """Examples per second of the latest dispatches; empty before the second one."""
        examples, seconds = (
            (sum(column) for column in zip(*self.dispatches, strict=True)) if self.dispatches else (0, 0)
        )
        return f"{examples / seconds:,.0f} examples/s" if seconds else ""

    def splits(self) -> list[str]:
        """The latest metrics of each split."""
        return [f"{split}: {numbers}" for split, numbers in self.metrics.items()]

    def at_the_end(self, event: Event) -> list[str]:
        """How many steps were done, in which time and how fast."""
        seconds = f"in {format_seconds(time.perf_counter() - self.started)}"
        if event.step < event.total_steps:
            return [f"stopped after {event.step:,} of {event.total_steps:,} steps", seconds]
        return filled(f"{event.step:,} steps", seconds, self.speed())

    def last_line(self, event: Event) -> str:
        """The same, and the latest metrics of a run that was not stopped."""
        return "  ".join([*self.at_the_end(event), *(self.splits() if event.step >= event.total_steps else [])])


class _Lines:
    """One plain line per epoch, printed after an evaluation that may follow."""

    def __init__(self, console: Console):
        self.console = console
        self.status = Status()
        self.epoch: Event | None = None

    def __call__(self, event: Event) -> None:
        if event.kind == "start":
            self.status = Status()
        if event.kind != "evaluate" and self.epoch is not None:
            self.print(filled(epochs_of(self.epoch), *self.status.splits(), self.status.speed()))
            self.epoch = None
        self.status.update(event)
        if event.kind == "epoch":
            self.epoch = event
        if event.kind == "end":
            self.print([self.status.last_line(event)])

    def print(self, parts: list[str]) -> None:
        self.console.print("  ".join(parts), soft_wrap=True, markup=False, highlight=False)


class _LiveBar:
    """A bar with the metrics below it, redrawn four times a second."""

    def __init__(self, console: Console):
        self.console = console
        self.status = Status()
        self.live: Live | None = None

    def __call__(self, event: Event) -> None:
        if event.kind == "start":
            self.start(event)
        self.status.update(event)
        if event.kind == "end":
            self.stop()
            self.console.print(self.status.last_line(event), soft_wrap=True, markup=False, highlight=False)
        elif event.kind != "start":
            self.bar.update(self.task, completed=event.step, description=epochs_of(event), speed=self.status.speed())
            self.metrics.plain = "  ".join(self.status.splits())

    def start(self, event: Event) -> None:
        from rich.console import Group
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.text import Text

        self.stop()
        self.status = Status()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("left"),
            TextColumn("{task.fields[speed]}"),
        )
        self.task = self.bar.add_task("", total=event.total_steps, completed=event.step, speed="")
        self.metrics = Text("compiling")
        self.live = Live(
            Group(self.bar, self.metrics),
            console=self.console,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # output to a pipe is not redirected
        )
        self.live.start()

    def stop(self) -> None:
        if self.live is not None:
            self.live.stop()
            self.live = None


def epochs_of(event: Event) -> str:
    """`epoch 3/30`: the running epoch, or the one just completed."""
    total = total_epochs(event)
    return f"epoch {int(np.ceil(event.epoch))}/{total}" if total else ""


def total_epochs(event: Event) -> int:
    """The epochs of the whole run; 0 before the first step, when they are not known."""
    return round(event.total_steps * event.epoch / event.step) if event.step else 0


def filled(*parts: str) -> list[str]:
    """The parts that are not empty."""
    return [part for part in parts if part]


def format_metrics(metrics: Mapping[str, Any]) -> str:
    """Format the scalar metrics on one line; arrays, such as a confusion matrix, are omitted.

    Example:
        >>> format_metrics({"loss": 0.0123456, "accuracy": np.float32(0.975), "confusion": np.eye(2)})
        'loss 0.01235 accuracy 0.975'
    """
    return " ".join(f"{name} {float(value):.4g}" for name, value in metrics.items() if np.ndim(value) == 0)


def format_seconds(seconds: float) -> str:
    """Format a time for reading.

    Example:
        >>> format_seconds(8.26), format_seconds(75), format_seconds(7384)
        ('8.3 s', '1 min 15 s', '2 h 3 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
