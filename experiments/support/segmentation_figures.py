"""Figures of segmentations: images, and the classes of their pixels as colors over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from jaxnets.report.style import save

COLORS = (
    "#56B4E9",  # sky
    "#8C564B",  # building
    "#F0E442",  # pole
    "#5E3C99",  # road
    "#E377C2",  # pavement
    "#009E73",  # tree
    "#E41A1C",  # sign
    "#B2912F",  # fence
    "#0033CC",  # car
    "#FF7F00",  # pedestrian
    "#00E5E5",  # bicyclist
)
VOID = "#000000"
OPACITY = 0.65


def overlay(images: np.ndarray, labels: np.ndarray, colors: np.ndarray) -> np.ndarray:
    """Lay the color of each pixel's class over the gray image; labels without a color are black.

    Args:
        images: `[images, height, width, 3]` in [0, 1].
        labels: `[images, height, width]`.
        colors: `[classes, 3]` in [0, 1].

    Returns:
        `[images, height, width, 3]` in [0, 1].
    """
    gray = images.mean(axis=-1, keepdims=True)
    known = (labels >= 0) & (labels < len(colors))
    painted = OPACITY * colors[np.where(known, labels, 0)] + (1 - OPACITY) * gray
    shown: np.ndarray = np.where(known[..., None], painted, 0.0)
    return shown


def plot_segmentations(
    images: np.ndarray, labels: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...], path: Path
) -> None:
    """Draw a row for each image: the image, its labels, and the prediction, with a legend of the classes."""
    from matplotlib.colors import to_rgb

    colors = np.array([to_rgb(color) for color in COLORS[: len(classes)]])
    figure = Figure(figsize=(11, 2.75 * len(images) + 0.7), layout="constrained")
    panels: Any = figure.subplots(len(images), 3, squeeze=False)
    columns = images, overlay(images, labels, colors), overlay(images, predicted, colors)
    for row, axes in enumerate(panels):
        for panel, column in zip(axes, columns, strict=True):
            panel.imshow(np.clip(column[row], 0, 1))
            panel.set_axis_off()
    for panel, title in zip(panels[0], ("image", "labels", "prediction"), strict=True):
        panel.set_title(title, fontsize=12)
    drawn = [*zip(classes, COLORS, strict=False), ("void", VOID)]
    handles = [Patch(color=color, label=name) for name, color in drawn]
    figure.legend(handles=handles, loc="outside upper center", ncols=6, frameon=False, fontsize=11)
    save(figure, path, dpi=75)
