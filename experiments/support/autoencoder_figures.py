"""The figures of autoencoders: what they make of images, and maps of codes of two numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from jaxnets.report.style import TEN, save

SIDE = 28
"""Pixels of an image's side."""


def plot_reconstructions(given: Mapping[str, np.ndarray], made: Mapping[str, np.ndarray], path: Path) -> None:
    """Draw a row of images `[images, pixels]` for each name, those given first."""
    rows = {**given, **made}
    figure = Figure(figsize=(8.3, 0.68 * len(rows)), layout="constrained")
    for axes, (name, images) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
        draw_images(axes, images, len(images))
        axes.set_anchor("E")
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
    save(figure, path)


def draw_images(axes: Axes, images: np.ndarray, columns: int) -> None:
    """Draw images `[images, pixels]` row by row, black on white."""
    axes.imshow(tiled(images, columns), cmap="gray_r", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """One picture of images `[images, pixels]`, row by row."""
    rows = images.reshape(-1, columns, SIDE, SIDE).swapaxes(1, 2)
    return rows.reshape(len(rows) * SIDE, columns * SIDE)


def plot_maps(
    codes: Mapping[str, np.ndarray], labels: np.ndarray, decode: Callable[[np.ndarray], np.ndarray], path: Path
) -> None:
    """Draw codes `[images, 2]` in the colors of their classes, and what the last map's plane is decoded to."""
    figure = Figure(figsize=(15, 5.2), layout="constrained")
    *panels, grid = figure.subplots(1, len(codes) + 1)
    for axes, (name, points) in zip(panels, codes.items(), strict=True):
        picture = draw_codes(axes, points, labels)
        axes.set_title(f"{name}: test images")
    figure.colorbar(picture, ax=panels, ticks=range(10), label="digit", pad=0.01, aspect=30)
    draw_grid(grid, points, decode)
    grid.set_title(f"{name}: what the plane is decoded to")
    save(figure, path)


def draw_codes(axes: Axes, codes: np.ndarray, labels: np.ndarray) -> Any:
    """Draw points in the colors of ten classes."""
    colors = ListedColormap(TEN)
    picture = axes.scatter(
        codes[:, 0], codes[:, 1], c=labels, cmap=colors, vmin=-0.5, vmax=9.5, s=3, linewidths=0, rasterized=True
    )
    low, high = extent(codes)
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_xlabel("first number")
    axes.set_ylabel("second number")
    return picture


def extent(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The corners of a rectangle around most codes."""
    low, high = np.quantile(codes, (0.02, 0.98), axis=0)
    margin = 0.05 * (high - low) + 1e-6
    return low - margin, high + margin


def draw_grid(axes: Axes, codes: np.ndarray, decode: Callable[[np.ndarray], np.ndarray], size: int = 18) -> None:
    """Draw what points of a grid over the codes are decoded to."""
    low, high = extent(codes)
    half = (high - low) / size / 2
    x, y = (np.linspace(low[i] + half[i], high[i] - half[i], size) for i in (0, 1))
    points = np.stack(np.meshgrid(x, y[::-1]), axis=-1).reshape(-1, 2).astype(np.float32)
    axes.imshow(
        tiled(decode(points), size),
        cmap="gray_r",
        vmin=0,
        vmax=1,
        extent=(low[0], high[0], low[1], high[1]),
        aspect="auto",
    )
    axes.set_xlabel("first number")
    axes.set_ylabel("second number")
