"""The figure of variational autoencoders: walks between images through the latents, and new images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.support.autoencoder_figures import draw_images
from jaxnets.report.style import save


def plot_walks(walks: np.ndarray, new: np.ndarray, path: Path) -> None:
    """Draw walks `[walks, steps, pixels]`, a row for each, and beside them new images `[images, pixels]`."""
    count, steps, pixels = walks.shape
    columns = len(new) // count
    figure = Figure(figsize=(0.62 * (steps + columns) + 0.6, 0.62 * count + 0.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(steps, columns))
    draw_images(left, walks.reshape(-1, pixels), steps)
    left.set_title("from one test image to another, in equal steps of the latents")
    draw_images(right, new[: count * columns], columns)
    right.set_title("new images")
    save(figure, path)
