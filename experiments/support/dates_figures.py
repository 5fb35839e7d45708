"""The figure of the dates: where a network looks in the written date for each character of the ISO date."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from jaxnets.data import DateSet
from jaxnets.report.style import save

SPACE, END = "␣", "end"


def plot_attention(weights: np.ndarray, shown: DateSet, path: Path) -> None:
    """Draw the weights of attention `[dates, target_time, source_time]`, a panel for each date."""
    figure = Figure(figsize=(12, 4.3 * -(-len(shown.iso) // 2)), layout="constrained")
    axes = figure.subplots(-(-len(shown.iso) // 2), 2, squeeze=False).ravel()
    for panel, of_one, written, iso in zip(axes, weights, *shown, strict=False):
        picture = draw_attention(panel, of_one, written, iso)
    for unused in axes[len(shown.iso) :]:
        unused.remove()
    figure.colorbar(picture, ax=axes[: len(shown.iso)].tolist(), shrink=0.6, label="weight of attention")
    save(figure, path)


def draw_attention(axes: Axes, weights: np.ndarray, written: str, iso: str) -> AxesImage:
    """Draw one date: its characters as they are read along x, and as they are written along y."""
    rows = [*iso, END]
    picture = axes.imshow(weights[: len(rows), : len(written)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(len(written)), list(written.replace(" ", SPACE)), family="monospace", fontsize=11)
    axes.set_yticks(range(len(rows)), rows, family="monospace", fontsize=11)
    axes.tick_params(length=0)
    axes.set_xticks(np.arange(len(written) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set_xlabel("characters read")
    axes.set_ylabel("characters written")
    return picture
