"""Figures of forecasts: what was known, what came, and what was forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxnets.report.style import BLUE, GRAY, ORANGE, save, tidy

SHOWN_HISTORY = 168


class Drawn(NamedTuple):
    """One window of one horizon, one channel of it, in the units of the measurements.

    Attributes:
        known: `[history]`.
        came: `[horizon]`.
        made: `[horizon]`, the forecast.
        title: of its panel.
    """

    known: np.ndarray
    came: np.ndarray
    made: np.ndarray
    title: str


def plot_forecasts(windows: list[Drawn], channel: str, name: str, path: Path) -> None:
    """Draw a panel for each horizon: the last week that was known, what came, and the forecast."""
    figure = Figure(figsize=(12.5, 3.2 * -(-len(windows) // 2)), layout="constrained")
    panels: Any = figure.subplots(-(-len(windows) // 2), 2, squeeze=False)
    for axes, window in zip(panels.flat, windows, strict=False):
        _draw(axes, window, name)
    for axes in panels[:, 0]:
        axes.set_ylabel(channel)
    for axes in panels.flat[len(windows) :]:
        axes.set_visible(False)
    panels[0, 0].legend(frameon=False, ncols=4, loc="upper left", bbox_to_anchor=(0, 1.28))
    save(figure, path)


def _draw(axes: Axes, window: Drawn, name: str) -> None:
    known = window.known[-SHOWN_HISTORY:]
    after = np.arange(len(window.came) + 1)
    axes.plot(np.arange(1 - len(known), 1), known, color=GRAY, linewidth=1.2, label="known")
    axes.plot(after, np.concatenate([known[-1:], window.came]), color="black", linewidth=1.2, label="what came")
    axes.plot(after[1:], window.made, color=ORANGE, linewidth=1.6, label=name)
    axes.plot(after, np.full(len(after), known[-1]), color=BLUE, linewidth=1, linestyle="--", label="last value")
    axes.axvline(0, color=GRAY, linewidth=0.8)
    axes.set_title(window.title, fontsize=10)
    axes.set_xlabel("hours from the forecast on")
    tidy(axes)
