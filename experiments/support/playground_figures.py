"""Figures of the Playground: the output over the plane as it is learned, sets, sweeps and curves."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

from experiments.support.playground_survey import Outcome
from jaxnets.data import playground_features
from jaxnets.playground.network import make_data, make_network
from jaxnets.playground.settings import PlaygroundSettings
from jaxnets.report.style import BLUE, ORANGE, SKY, save, tidy, whole_ticks

NEGATIVE, POSITIVE = "#F5921F", "#0A76BC"
COLORS = LinearSegmentedColormap.from_list("outputs", [NEGATIVE, "#E9EBEC", POSITIVE], N=24)
"""Orange, gray and blue, near the Playground's, for outputs from -1 to 1; told apart with any color blindness."""
TRAIN: dict[str, Any] = {"color": "#8C8C8C", "edge": "white", "marker": "o"}
TEST: dict[str, Any] = {"color": "#111111", "edge": "#111111", "marker": "D"}
EXTENT = 6.0
"""The plane is shown for x1 and x2 from -6 to 6, as in the Playground."""
PIXELS = 120
DPI = 100
MILLISECONDS = 120, 1500, 4000
"""How long a frame of the animation stays, the first and the last one."""


def frame_epochs(epochs: int, frames: int) -> np.ndarray:
    """The epochs to show, from 0 to the last one, closer together where more happens: at the beginning."""
    shown: np.ndarray = np.unique(np.round(epochs * np.linspace(0, 1, frames) ** 2).astype(int))
    return shown


def outputs_on_grid(settings: PlaygroundSettings, params: Any) -> np.ndarray:
    """The outputs of networks, given their stacked parameters, over the plane: `[networks, PIXELS, PIXELS]`."""
    centers = (np.arange(PIXELS) + 0.5) / PIXELS * 2 * EXTENT - EXTENT
    points = np.stack(np.meshgrid(centers, centers), axis=-1).reshape(-1, 2)
    inputs = playground_features(points, settings.features).astype(np.float32)
    network = make_network(settings)
    outputs = jax.jit(jax.vmap(lambda one: network.apply(one, {}, inputs, train=False)[0]))(params)
    return np.asarray(outputs).reshape(-1, PIXELS, PIXELS)


def draw_boundary(axes: Axes, outputs: np.ndarray) -> Any:
    """Draw the line where a classifier's output is 0, if there is one; returns it."""
    centers = (np.arange(PIXELS) + 0.5) / PIXELS * 2 * EXTENT - EXTENT
    if outputs.min() >= 0 or outputs.max() <= 0:
        return None
    return axes.contour(centers, centers, outputs, levels=[0.0], colors="#333333", linewidths=1.2)


def draw_plane(axes: Axes, settings: PlaygroundSettings, seed: int, outputs: np.ndarray, *, size: float = 14) -> Any:
    """Draw outputs over the plane and both splits of the points in the colors of their labels; returns the image."""
    extent = (-EXTENT, EXTENT, -EXTENT, EXTENT)
    image = axes.imshow(outputs, cmap=COLORS, vmin=-1, vmax=1, origin="lower", extent=extent, interpolation="nearest")
    points = make_data(dataclasses.replace(settings, features=("x1", "x2")), seed)
    for name, style, (places, labels) in (("train", TRAIN, points.train), ("test", TEST, points.test)):
        shown: dict[str, Any] = {"edgecolors": style["edge"], "marker": style["marker"], "linewidths": 0.6, "zorder": 3}
        smaller = size if name == "train" else 0.7 * size
        axes.scatter(places[:, 0], places[:, 1], c=labels, s=smaller, cmap=COLORS, vmin=-1, vmax=1, **shown)
    axes.set(xlim=(-EXTENT, EXTENT), ylim=(-EXTENT, EXTENT), xticks=(-6, -3, 0, 3, 6), yticks=(-6, -3, 0, 3, 6))
    return image


def point_handles() -> list[Line2D]:
    """What a legend shows of the points."""
    handles = []
    for label, style in (("training point", TRAIN), ("test point", TEST)):
        colors = {"markerfacecolor": POSITIVE, "markeredgecolor": style["edge"]}
        handles.append(Line2D([], [], linestyle="", marker=style["marker"], label=label, **colors))
    return handles


def plain_numbers(axes: Axes) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5, written out."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


class Scene:
    """One figure, drawn again for each frame: the plane on the left, the losses so far on the right."""

    def __init__(
        self, settings: PlaygroundSettings, data_seed: int, history: Mapping[str, Any], dpi: int = DPI
    ) -> None:
        self.figure = Figure(figsize=(7.2, 4.0), dpi=dpi)
        self.canvas: Any = FigureCanvasAgg(self.figure)
        self.classifies = settings.classifies
        self.losses = {name: np.asarray(history[name]["loss"]) for name in ("train", "test")}
        self.plane = self.figure.add_axes((0.07, 0.17, 0.414, 0.745))
        self.image = draw_plane(self.plane, settings, data_seed, np.zeros((PIXELS, PIXELS)))
        self.plane.set_ylabel("x2", labelpad=-4)
        self.plane.set_xlabel("x1", labelpad=0)
        place: dict[str, Any] = {
            "loc": "upper center",
            "bbox_to_anchor": (0.5, -0.13),
            "ncols": 2,
            "handletextpad": 0.1,
        }
        self.plane.legend(handles=point_handles(), frameon=False, **place)
        bar = self.figure.colorbar(self.image, cax=self.figure.add_axes((0.495, 0.17, 0.014, 0.745)), ticks=[-1, 0, 1])
        bar.ax.set_title("output", fontsize=9, pad=9)
        self.curves = self.figure.add_axes((0.635, 0.17, 0.335, 0.745))
        self.lines = {
            name: self.curves.plot([], [], color=style["color"], linewidth=1.8)[0]
            for name, style in (("train", TRAIN), ("test", TEST))
        }
        both = np.concatenate(list(self.losses.values()))
        self.curves.set(xlim=(0, len(self.losses["train"]) - 1), xlabel="epoch")
        self.curves.set_title("mean of (output - label)² / 2", fontsize=11)
        self.curves.set(yscale="log", ylim=(max(both.min(), 1e-6) * 0.8, both.max() * 1.25))
        tidy(self.curves)
        whole_ticks(self.curves)
        plain_numbers(self.curves)
        self.boundary: Any = None

    def draw(self, epoch: int, outputs: np.ndarray) -> Image.Image:
        """Draw one frame."""
        self.image.set_data(outputs)
        if self.boundary is not None:
            self.boundary.remove()
        self.boundary = draw_boundary(self.plane, outputs) if self.classifies else None
        self.plane.set_title(f"epoch {epoch:,}", fontsize=11)
        for name, line in self.lines.items():
            line.set_data(np.arange(epoch + 1), self.losses[name][: epoch + 1])
            line.set_label(f"{name} {self.losses[name][epoch]:.3f}")
        self.curves.legend(title="loss", frameon=False, loc="upper right")
        self.canvas.draw()
        return Image.fromarray(np.asarray(self.canvas.buffer_rgba())[..., :3].copy())


def animate(
    folder: Path,
    settings: PlaygroundSettings,
    data_seed: int,
    history: Mapping[str, Any],
    *,
    frames: int = 36,
    dpi: int = DPI,
) -> int:
    """Write `boundary.gif`, how the output changes in training, and its last frame `boundary.png`.

    Returns:
        The number of frames.
    """
    epochs = frame_epochs(len(history["train"]["loss"]) - 1, frames)
    outputs = outputs_on_grid(settings, jax.tree.map(lambda leaf: leaf[epochs], history["params"]))
    scene = Scene(settings, data_seed, history, dpi)
    drawn = [scene.draw(int(epoch), output) for epoch, output in zip(epochs, outputs, strict=True)]
    save(scene.figure, folder / "boundary.png", dpi=140)
    write_gif(drawn, folder / "boundary.gif")
    return len(drawn)


def write_gif(frames: Sequence[Image.Image], path: Path) -> None:
    """Write frames with one palette and without dithering, which keeps the file small and the colors still."""
    palette = frames[-1].quantize(colors=96, dither=Image.Dither.NONE)
    first, *rest = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    usual, at_first, at_last = MILLISECONDS
    durations = [at_first, *[usual] * (len(rest) - 1), at_last][: len(frames)]
    first.save(path, save_all=True, append_images=rest, duration=durations, loop=0, optimize=True)


def plot_losses(path: Path, history: Mapping[str, Any], draws: Mapping[str, Any], target: float | None) -> None:
    """Draw the losses of the run, and between which test losses 80% of many draws are."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    of_draws = draws["test"]["loss"]
    low, middle, high = np.quantile(of_draws, [0.1, 0.5, 0.9], axis=0)
    epochs = np.arange(len(middle))
    axes.fill_between(epochs, low, high, color=SKY, alpha=0.3, linewidth=0, label=f"test, 80% of {len(of_draws)} draws")
    axes.plot(epochs, middle, color=BLUE, linestyle="--", linewidth=1.4, label=f"their median {middle[-1]:.4f}")
    for name, style in (("train", TRAIN), ("test", TEST)):
        losses = history[name]["loss"]
        axes.plot(epochs, losses, color=style["color"], linewidth=1.8, label=f"this run, {name} {losses[-1]:.4f}")
    if target is not None:
        axes.axhline(target, color=ORANGE, linestyle=":", label=f"the published {target}")
    axes.set(xlabel="epoch", ylabel="mean of (output - label)² / 2 (log scale)", yscale="log")
    tidy(axes)
    whole_ticks(axes)
    plain_numbers(axes)
    axes.legend(frameon=False, title="last value")
    save(figure, path)


def plot_sets(path: Path, outcomes: Mapping[str, Outcome]) -> None:
    """Draw what was learned of every set, by the draw whose test loss is the middle one."""
    columns = min(3, len(outcomes))
    figure = Figure(figsize=(3.3 * columns, 3.55 * -(-len(outcomes) // columns)), layout="constrained")
    for position, (label, found) in enumerate(outcomes.items(), start=1):
        axes = figure.add_subplot(-(-len(outcomes) // columns), columns, position)
        middle = int(np.argsort(found.test)[len(found.test) // 2])
        outputs = outputs_on_grid(found.settings, jax.tree.map(lambda leaf, i=middle: leaf[i : i + 1], found.params))[0]
        draw_plane(axes, found.settings, found.seeds[middle], outputs, size=9 if found.settings.classifies else 4)
        if found.settings.classifies:
            draw_boundary(axes, outputs)
        hidden = "-".join(map(str, found.settings.hidden))
        layers = f"{hidden} {found.settings.activation}" if hidden else "no hidden layer"
        axes.set_title(
            f"{label}: test loss {found.test[middle]:.2g}\n{layers}, {found.settings.epochs} epochs", fontsize=10
        )
        axes.tick_params(labelsize=8)
    figure.legend(handles=point_handles(), loc="outside lower center", ncols=2, frameon=False)
    save(figure, path)


def sweep_title(group: str, settings: PlaygroundSettings) -> str:
    """What all settings of a sweep have in common."""
    hidden = "-".join(map(str, settings.hidden))
    layers = f"{hidden} neurons" if group == "activation" else f"{hidden} {settings.activation}"
    noise = f", noise {settings.noise:g}" if settings.noise and group != "noise" else ""
    share = f", {settings.train_share:.0%} to train on" if settings.train_share != 0.5 else ""
    return f"{settings.data}{noise}{share}, {layers}, {settings.epochs} epochs"


def plot_sweeps(path: Path, groups: Mapping[str, Mapping[str, Outcome]]) -> None:
    """Draw the losses over each setting that was changed: every draw is a point, and the medians."""
    columns = min(3, len(groups))
    lines = -(-len(groups) // columns)
    figure = Figure(figsize=(3.9 * columns, 3.3 * lines), layout="constrained")
    for position, (group, outcomes) in enumerate(groups.items(), start=1):
        axes = figure.add_subplot(lines, columns, position)
        places = np.arange(len(outcomes))
        for shift, name, color in ((-0.12, "train", BLUE), (0.12, "test", ORANGE)):
            losses = np.array([getattr(found, name) for found in outcomes.values()])
            spots = np.broadcast_to(places[:, None] + shift, losses.shape)
            axes.plot(spots.ravel(), losses.ravel(), ".", color=color, alpha=0.35, markersize=5)
            line: dict[str, Any] = {
                "linestyle": "none" if group == "activation" else "-",
                "marker": "_",
                "markersize": 14,
            }
            axes.plot(
                places + shift,
                np.median(losses, axis=1),
                color=color,
                label=f"{name}, median",
                **line,
            )
        axes.set_xticks(places, list(outcomes))
        label = f"{group.upper()} rate" if group in ("l1", "l2") else group
        axes.set(xlabel=label, ylabel="loss after training (log scale)", yscale="log")
        axes.set_title(textwrap.fill(sweep_title(group, next(iter(outcomes.values())).settings), 48), fontsize=9)
        tidy(axes)
        plain_numbers(axes)
        if position == 1:
            handles = axes.get_legend_handles_labels()
            figure.legend(*handles, title="a point per draw", loc="outside lower center", ncols=2, frameon=False)
    save(figure, path)
