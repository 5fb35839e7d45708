"""The progress of `fit` in a notebook: a table of the epochs and a bar below it, drawn again while the cell runs."""

from __future__ import annotations

import html
import math
import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxnets.report.progress import Status, epochs_of, filled, format_metrics, total_epochs
from jaxnets.training.event import Event

# Colors that stand out on white and on black; everything else takes the color of the page.
_RUNNING, _STOPPED, _GROUND, _LINE = "#2a8fd6", "#d55e00", "rgba(128, 128, 128, 0.3)", "rgba(128, 128, 128, 0.6)"
_CELL = "padding: 0.15em 0.9em; text-align: right; border: none"
_MOST_ROWS = 12


class NotebookBar:
    """One output of a notebook's cell, which a thread draws twice a second.

    So the clock and the remaining time go on while the main thread compiles, or waits for a long dispatch.
    """

    SECONDS = 0.5

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stop = threading.Event()
        self.output = Output()
        self.handle: Any = None

    def __call__(self, event: Event) -> None:
        """Take in an event, and draw the first and the last one."""
        if event.kind == "start":
            self.stop.set()
            self.output, self.handle = Output(), None
            self.stop = threading.Event()
        with self.lock:
            self.output.note(event, time.perf_counter())
        if event.kind == "start":
            self.draw(self.stop)
            threading.Thread(target=self.keep_drawing, args=[self.stop], daemon=True).start()
        elif event.kind == "end":
            with self.lock:
                self.stop.set()
            self.draw(threading.Event())

    def keep_drawing(self, stop: threading.Event) -> None:
        """Draw until the run ends."""
        while not stop.wait(self.SECONDS):
            self.draw(stop)

    def draw(self, stop: threading.Event) -> None:
        """Draw, unless the run has ended since: its last picture stays."""
        from IPython.display import display

        with self.lock:
            if stop.is_set():
                return
            now = time.perf_counter()
            bundle = {"text/plain": self.output.text(now), "text/html": self.output.page(now)}
            if self.handle is None:
                self.handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
            else:
                self.handle.update(bundle, raw=True)


class Output:
    """What the notebook shows: a function of the events so far and the time."""

    def __init__(self) -> None:
        self.status = Status()
        self.started = time.perf_counter()
        self.rows: list[dict[str, Any]] = []  # for each epoch its number, its time, and the metrics of each split
        self.columns: dict[str, dict[str, None]] = {}  # for each split the names of its metrics, in order
        self.first: tuple[int, float] | None = None  # steps and time when the first dispatch was done
        self.latest = (0, 0.0)  # the same of the latest

    def note(self, event: Event, now: float) -> None:
        """Take in an event."""
        self.status.update(event)
        self.event = event._replace(train_state=None)  # type: ignore[arg-type]  # which would keep its memory
        if event.kind == "steps":
            self.latest = event.step, now
            self.first = self.first or self.latest
        elif event.kind in ("epoch", "evaluate"):
            if not self.rows or self.rows[-1]["epoch"] != event.epoch:
                self.rows.append({"epoch": event.epoch})
            scalars = {name: float(value) for name, value in event.metrics.items() if np.ndim(value) == 0}
            self.rows[-1] |= {"time": now - self.started, event.split: scalars}
            self.columns.setdefault(event.split, {}).update(dict.fromkeys(scalars))

    def remaining(self, now: float) -> float | None:
        """Seconds to the end at the mean speed since the first dispatch, which includes the compilation."""
        if self.first is None or self.latest[0] == self.first[0]:
            return None
        seconds = (self.latest[1] - self.first[1]) / (self.latest[0] - self.first[0])
        return max(seconds * (self.event.total_steps - self.latest[0]) - (now - self.latest[1]), 0.0)

    def words(self, now: float) -> list[str]:
        """What stands beside the bar while it runs, or at the end."""
        if self.event.kind == "end":
            return self.status.at_the_end(self.event)
        if self.first is None:
            return ["compiling", clock(now - self.started)]
        left = self.remaining(now)
        return filled(
            epochs_of(self.event),
            f"{self.share():.0%}",
            "" if left is None else f"{clock(left)} left",
            self.status.speed(),
        )

    def share(self) -> float:
        """How much of the run is done."""
        return self.event.step / self.event.total_steps

    def text(self, now: float) -> str:
        """The output without HTML: a line for each epoch, and one for now."""
        lines = []
        for row in self.shown_rows():
            splits = [f"{split}: {format_metrics(row[split])}" for split in self.columns if split in row]
            lines.append("  ".join([f"epoch {row['epoch']:g}/{total_epochs(self.event)}", *splits]))
        last = self.status.last_line(self.event) if self.event.kind == "end" else "  ".join(self.words(now))
        return "\n".join([*lines, last])

    def page(self, now: float) -> str:
        """The output as HTML."""
        parts = [self.table()] if self.rows else []
        words = self.words(now)
        if self.event.kind == "end":
            done = self.event.step >= self.event.total_steps
            parts.append(_line([_bar(self.share(), _STOPPED)] if not done else [], words))
        else:
            parts.append(_line([_bar(self.share(), _RUNNING, waiting=self.first is None)], words))
            parts.append(_line([], self.status.splits()))
        return f'<div style="font-variant-numeric: tabular-nums">{"".join(parts)}</div>'

    def shown_rows(self) -> list[dict[str, Any]]:
        """All epochs, or of many every 2nd, 5th, 10th and so on, and the latest."""
        every = row_step(max(total_epochs(self.event), len(self.rows)))
        return [row for row in self.rows if row["epoch"] % every == 0 or row is self.rows[-1]]

    def table(self) -> str:
        """The epochs in rows, the metrics of the splits in columns."""
        splits = {split: list(names) for split, names in self.columns.items() if names}
        above = "".join(_cell("th", split, f'colspan="{len(names)}"') for split, names in splits.items())
        below = "".join(_cell("th", name) for names in splits.values() for name in names)
        head = f"<tr>{_cell('th', '')}{above}{_cell('th', '')}</tr>"
        head += f"<tr>{_cell('th', 'epoch')}{below}{_cell('th', 'time')}</tr>"
        body = "".join(f"<tr>{self.cells(row, splits)}</tr>" for row in self.shown_rows())
        style = f"border: none; border-bottom: 1px solid {_LINE}"
        return f'<table style="border-collapse: collapse"><thead style="{style}">{head}</thead>{body}</table>'

    def cells(self, row: Mapping[str, Any], splits: Mapping[str, list[str]]) -> str:
        """One row of the table; a split that was not measured in this epoch leaves its cells empty."""
        numbers = [
            f"{row[split][name]:#.4g}" if name in row.get(split, {}) else ""
            for split, names in splits.items()
            for name in names
        ]
        return "".join(_cell("td", text) for text in (f"{row['epoch']:g}", *numbers, clock(row["time"])))


def clock(seconds: float) -> str:
    """A time as on a clock.

    Example:
        >>> clock(7.6), clock(75), clock(3723)
        ('0:07', '1:15', '1:02:03')
    """
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def row_step(epochs: int) -> int:
    """Every how many epochs the table shows one: 1, 2, 5, 10, 20, ..., such that it has at most 12.

    Example:
        >>> [row_step(epochs) for epochs in (5, 12, 13, 60, 100, 1000)]
        [1, 1, 2, 5, 10, 100]
    """
    least = max(math.ceil(epochs / _MOST_ROWS), 1)
    power: int = 10 ** int(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least)


def _cell(kind: str, text: str, attribute: str = "") -> str:
    align = "; text-align: center" if attribute else ""
    return f'<{kind} {attribute} style="{_CELL}{align}">{html.escape(text)}</{kind}>'


def _line(parts: list[str], words: list[str]) -> str:
    """HTML and words side by side."""
    spans = [f"<span>{html.escape(word)}</span>" for word in words]
    style = "display: flex; flex-wrap: wrap; align-items: center; gap: 0.2em 1.2em; padding: 0.25em 0"
    return f'<div style="{style}">{"".join([*parts, *spans])}</div>'


def _bar(share: float, color: str, *, waiting: bool = False) -> str:
    """A bar that is filled from the left, or striped while nobody knows how long it takes."""
    stripes = f"repeating-linear-gradient(-45deg, {color} 0 0.5em, transparent 0.5em 1em)"
    inner = f"height: 100%; width: {1 if waiting else share:.1%}; background: {stripes if waiting else color}"
    outer = f"width: 20em; height: 0.7em; border-radius: 0.35em; overflow: hidden; background: {_GROUND}"
    value = "" if waiting else f'aria-valuenow="{100 * share:.0f}"'
    roles = f'role="progressbar" aria-label="training" aria-valuemin="0" aria-valuemax="100" {value}'
    return f'<div {roles} style="{outer}"><div style="{inner}"></div></div>'
