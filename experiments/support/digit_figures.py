"""Pictures of generated digits: grids, the animation of how they came about, and distances."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw

from jaxnets.report.style import BLUE, GRAY, ORANGE, save, tidy, whole_ticks
from jaxnets.training.event import Callback, Event
from jaxnets.training.state import TrainState

GAP = 2
SCALE = 1.5
MARGIN, TITLE = 16, 24
MILLISECONDS = 250, 3000
"""How long a frame of the animation stays, and the last one."""


def grid(images: Any, columns: int | None = None) -> Image.Image:
    """One picture of images `[images, height, width, 1]` in [0, 1], in rows, dark on light."""
    images = np.asarray(images)[..., 0]
    columns = columns or math.isqrt(len(images))
    rows = -(-len(images) // columns)
    height, width = images.shape[1] + GAP, images.shape[2] + GAP
    canvas = np.zeros((rows * height + GAP, columns * width + GAP))
    for number, image in enumerate(images):
        top, left = (number // columns) * height + GAP, (number % columns) * width + GAP
        canvas[top : top + image.shape[0], left : left + image.shape[1]] = image
    return Image.fromarray(np.round(255 * (1 - np.clip(canvas, 0, 1))).astype(np.uint8))


def draw_grid(images: Any, path: Path, columns: int | None = None) -> None:
    """Write a picture of images in rows."""
    enlarged(grid(images, columns)).save(path)


def enlarged(picture: Image.Image) -> Image.Image:
    """The picture, larger by `SCALE`."""
    return picture.resize((round(SCALE * picture.width), round(SCALE * picture.height)), Image.Resampling.BICUBIC)


def film(draw: Callable[[TrainState], Any], folder: Path, every: int) -> Callback:
    """Make a callback of `fit` that writes a picture of what a network draws, every so many steps.

    The pictures are files, so that a run that was stopped goes on with those it has.
    """

    def callback(event: Event) -> None:
        if event.kind in ("start", "steps") and event.step % every == 0:
            folder.mkdir(exist_ok=True)
            grid(draw(event.train_state)).save(folder / f"{event.step:08d}.png")

    return callback


def write_film(folders: Mapping[str, Path], path: Path) -> None:
    """Write the pictures of runs side by side, under their titles, as a GIF; one that has fewer stays at its last."""
    films = [sorted(folder.glob("*.png")) for folder in folders.values()]
    frames = []
    for number in range(max(map(len, films))):
        shown = [Image.open(files[min(number, len(files) - 1)]) for files in films]
        joined = Image.new("L", (sum(picture.width + MARGIN for picture in shown), shown[0].height + TITLE), 255)
        pen, left = ImageDraw.Draw(joined), MARGIN // 2
        for title, picture in zip(folders, shown, strict=True):
            pen.text((left, 3), title, fill=0, font_size=12)
            joined.paste(picture, (left, TITLE - 2))
            pen.rectangle((left - 1, TITLE - 3, left + picture.width, TITLE - 2 + picture.height - 1), outline=160)
            left += picture.width + MARGIN
        frames.append(joined.quantize(8, dither=Image.Dither.NONE))  # few grays keep the file small
    durations = [MILLISECONDS[0]] * (len(frames) - 1) + [MILLISECONDS[1]]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, optimize=True)


def plot_distances(rows: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw the Fréchet distance over the epochs of the GANs with and without a norm."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    styles = {"with": ("spectral norm", BLUE, "o"), "without": ("no norm, larger steps", ORANGE, "s")}
    for name, own in rows.items():
        label, color, marker = styles[name]
        points = [(row["epoch"], row["frechet"]) for row in own if row["split"] == "validation"]
        axes.plot(*zip(*points, strict=True), color=color, marker=marker, label=label)
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    whole_ticks(axes)
    axes.set_ylabel("Fréchet distance to test digits")
    axes.axhline(104.2, color=GRAY, linestyle="--", linewidth=1, label="uniform noise")
    tidy(axes)
    axes.legend()
    save(figure, path)


def plot_ways(made: Mapping[str, Any], path: Path) -> None:
    """Draw the first digits that each way makes, a row for each."""
    figure = Figure(figsize=(11, 0.62 * len(made)), layout="constrained")
    for panel, (name, digits) in zip(figure.subplots(len(made), 1, squeeze=False)[:, 0], made.items(), strict=True):
        panel.imshow(grid(digits, len(digits)), cmap="gray", aspect="equal", interpolation="nearest")
        panel.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_visible(False)
    save(figure, path)
