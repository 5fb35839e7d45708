"""The figure of grokking: accuracy and loss of both splits, and the waves in the embedding, over the epochs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxnets.report.style import BLUE, GRAY, ORANGE, save, tidy, whole_ticks

COLORS = {"train": (BLUE, "pairs it is trained on"), "test": (ORANGE, "pairs held out")}


def plot_grokking(epochs: np.ndarray, curves: dict[str, Any], mirrored: float, path: Path) -> None:
    """Draw accuracy and loss over the epochs, and below them the share of each frequency in the embedding.

    `curves` has `train` and `test`, each with `accuracy` and `loss` `[times]`, and `frequencies`
    `[times, frequencies]`; `mirrored` is the share of pairs held out whose mirror is trained on.
    """
    figure = Figure(figsize=(12.5, 7.2), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=(1.0, 1.05))
    above, below = halves
    left, right = above.subplots(1, 2, sharex=True)
    for split, (color, label) in COLORS.items():
        left.plot(epochs, 100 * curves[split]["accuracy"], color=color, linewidth=1.8, label=label)
        right.plot(epochs, curves[split]["loss"], color=color, linewidth=1.2)
    left.axhline(100 * mirrored, color=GRAY, linewidth=1, linestyle="--", label="held out, but trained on mirrored")
    left.set_ylabel("accuracy (%)")
    left.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.25))
    right.set_ylabel("cross-entropy (nats)")
    right.set_yscale("log")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        whole_ticks(axes)
        tidy(axes)
    map_axes, last_axes = below.subplots(1, 2, sharey=True, width_ratios=(2.6, 1.0))
    picture = _draw_map(map_axes, epochs, curves["frequencies"])
    below.colorbar(picture, ax=map_axes, label="share in the embedding (%)", pad=0.01)
    _draw_last(last_axes, curves["frequencies"])
    save(figure, path)


def _draw_map(axes: Axes, epochs: np.ndarray, shares: np.ndarray) -> Any:
    edges = np.concatenate([[0], epochs])
    rows = np.arange(shares.shape[1] + 1) + 0.5
    picture = axes.pcolormesh(edges, rows, 100 * shares.T, cmap="magma", vmin=0)
    axes.set_xlabel("epoch")
    whole_ticks(axes)
    axes.set_ylabel("frequency: periods over all numbers")
    return picture


def _draw_last(axes: Axes, shares: np.ndarray) -> None:
    places = np.arange(1, shares.shape[1] + 1)
    axes.barh(places, 100 * shares[-1], color=ORANGE, label="last epoch", height=0.8)
    axes.step(100 * shares[0], places, color="black", linewidth=1, where="mid", label="first measurement")
    axes.set_xlabel("share in the embedding (%)")
    axes.legend(frameon=False, fontsize=9)
    tidy(axes)
