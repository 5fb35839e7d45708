"""Figures of the regularization study: the accuracies of all variants, and the losses of some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxnets.report.style import BLUE, ORANGE, SKY, save, tidy, whole_ticks

DRAWN = ("none", "decoupled decay", "dropout", "augmentation")
"""The variants whose losses are drawn."""


def plot_study(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the test accuracy of every network, and the losses over the epochs of some variants."""
    figure = Figure(figsize=(12.5, 6.2), layout="constrained")
    halves: Any = figure.subfigures(1, 2, width_ratios=(1.0, 1.15))
    plot_accuracies(halves[0].subplots(), [row for row in rows if row["split"] == "test"])
    halves[1].suptitle("loss without regularization terms: mean and range of the networks", fontsize=11)
    grid = halves[1].subplots(2, 2, sharex=True, sharey=True)
    for axes, name in zip(grid.flat, DRAWN, strict=True):
        plot_losses(axes, name, [row for row in rows if row["variant"] == name])
    for below, beside in zip(grid[1], grid[:, 0], strict=True):
        below.set_xlabel("epoch")
        whole_ticks(below)
        beside.set_ylabel("cross-entropy (nats)")
    grid[0, 0].legend(frameon=False)
    save(figure, path)


def plot_accuracies(axes: Axes, rows: list[dict[str, Any]]) -> None:
    """Draw one line per variant: every network, mean and standard deviation."""
    for place, row in enumerate(rows):
        values = 100 * np.asarray(row["accuracies"])
        axes.plot(values, np.full(len(values), place), "o", color=SKY, markersize=5, alpha=0.7)
        axes.errorbar(values.mean(), place, xerr=values.std(ddof=1), fmt="D", color="black", capsize=4, markersize=5)
        axes.text(1.02, place, f"{values.mean():.2f}", va="center", transform=axes.get_yaxis_transform())
    axes.axvline(100 * np.mean(rows[0]["accuracies"]), color=ORANGE, linewidth=1, linestyle="--", zorder=0)
    axes.set_yticks(range(len(rows)), [row["variant"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy (%)")
    axes.set_title(f"{len(rows[0]['accuracies'])} networks (dots), mean and standard deviation", fontsize=11)
    axes.text(1.02, -0.55, "mean", va="center", transform=axes.get_yaxis_transform())
    axes.grid(axis="x", alpha=0.25)
    tidy(axes, grid=False)


def plot_losses(axes: Axes, name: str, rows: list[dict[str, Any]]) -> None:
    """Draw training and validation loss over the epochs: mean, and from the smallest to the largest of the networks."""
    for split, color in (("train", BLUE), ("validation", ORANGE)):
        epochs, losses_of = zip(*[(row["epoch"], row["losses"]) for row in rows if row["split"] == split], strict=True)
        values = np.asarray(losses_of)
        axes.fill_between(epochs, values.min(axis=1), values.max(axis=1), color=color, alpha=0.2, linewidth=0)
        label = "training" if split == "train" else split
        axes.plot(epochs, values.mean(axis=1), color=color, label=f"{label} images", linewidth=1.8)
    axes.set_title(name, fontsize=11)
    axes.set_ylim(0, 1)
    tidy(axes)
