"""Plots of a run, drawn without pyplot, so they change neither the backend nor global state.

Each returns its figure, which a notebook shows, and writes it if it is given a path.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxnets.extras import needed_for
from jaxnets.report.style import BLUE, GREEN, ORANGE, save, tidy, whole_ticks
from jaxnets.types import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLES: dict[str, dict[str, Any]] = {
    "train": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "validation": {"color": ORANGE, "marker": "s", "linestyle": "-"},
    "test": {"color": GREEN, "marker": "D", "linestyle": "none"},
}
_MAX_LABELED_CLASSES = 20


def plot_curves(rows: Sequence[Mapping[str, Any]], path: str | os.PathLike[str] | None = None) -> Figure:
    """Plot every metric over the epochs, one panel per metric with all splits.

    A panel is logarithmic if its values are positive and span more than a factor of ten. Nonfinite values are omitted.

    Args:
        rows: the rows of `read_metrics`. Metrics that are not single numbers are omitted.
        path: the file to write, if any; the suffix decides the format (`.png`, `.svg`, `.pdf`). In the folder of a run
            a line below the figure says of which.

    Returns:
        The figure.

    Raises:
        ValueError: if there is no metric in the rows.

    Example:
        >>> import tempfile
        >>> row = {"step": 5, "epoch": 1, "split": "train", "loss": 0.5}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     figure = plot_curves([row, row | {"epoch": 2, "loss": 0.2}], folder + "/curves.png")
    """
    with needed_for("report.plot_curves"):
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if _is_metric(name, value)))
    if not names:
        raise ValueError("plot_curves: the rows hold no metric; pass the result of read_metrics for metrics.jsonl")
    columns = min(len(names), 3)
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(4.8 * columns, 3.6 * lines), layout=ConstrainedLayoutEngine(w_pad=0.12))
    for position, name in enumerate(names, start=1):
        axes = figure.add_subplot(lines, columns, position)
        _draw_metric(axes, name, [row for row in rows if _is_metric(name, row.get(name))])
    save(figure, path)
    return figure


def _is_metric(name: str, value: Any) -> bool:
    return name not in ("step", "epoch", "split") and isinstance(value, int | float)


def _draw_metric(axes: Axes, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    drawn: list[float] = []
    for split, style in _STYLES.items():
        points = [(row["epoch"], row[name]) for row in rows if row["split"] == split and np.isfinite(row[name])]
        if not points:
            continue
        epochs, values = zip(*points, strict=True)
        drawn += values
        size = 3 if len(points) <= 40 and split != "test" else 7 if split == "test" else 0
        axes.plot(epochs, values, label=f"{split} {values[-1]:.4g}", markersize=size, linewidth=1.6, **style)
    axes.set_title(_literal(name))
    axes.set_xlabel("epoch")
    if len({row["epoch"] for row in rows}) == 1:
        axes.set_xticks([rows[0]["epoch"]])
    else:
        whole_ticks(axes)
    if drawn and min(drawn) > 0 and max(drawn) > 10 * min(drawn):
        axes.set_yscale("log")
        axes.set_ylabel(f"{_literal(name)} (log scale)")
    else:
        axes.set_ylabel(_literal(name))
    tidy(axes)
    if drawn:
        axes.legend(title="last value", frameon=False)
    else:
        axes.text(0.5, 0.5, "no finite value", ha="center", va="center", transform=axes.transAxes)


def plot_confusion(matrix: ArrayLike, class_names: Sequence[str], path: str | os.PathLike[str] | None = None) -> Figure:
    """Plot a confusion matrix: counts in the cells, colored by their share of the true class.

    Args:
        matrix: `[classes, classes]`, true classes in rows and predicted ones in columns, as in `jaxnets.metrics`.
        class_names: the names of the classes.
        path: the file to write, if any; the suffix decides the format.

    Returns:
        The figure.

    Raises:
        ValueError: if the matrix is not square or the number of names differs.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     figure = plot_confusion(np.array([[8, 2], [1, 9]]), ["cat", "dog"], folder + "/confusion.png")
    """
    with needed_for("report.plot_confusion"):
        from matplotlib.figure import Figure

    counts = np.asarray(matrix)
    classes = len(class_names)
    if counts.shape != (classes, classes):
        raise ValueError(
            f"plot_confusion: matrix must be [{classes}, {classes}] for {classes} class names, got {list(counts.shape)}"
        )
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = float(np.clip(0.55 * classes + 2.2, 4.5, 14))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    # The square root makes few mistakes visible beside many correct predictions.
    picture = axes.imshow(shares, cmap="Blues", norm=_square_root_norm())
    bar = figure.colorbar(picture, ax=axes, shrink=0.8, ticks=[0, 0.01, 0.05, 0.2, 0.5, 1], format="{x:.0%}")
    bar.set_label("share of the true class")
    if classes <= _MAX_LABELED_CLASSES:
        _write_counts(axes, counts, shares)
        longest = max((len(name) for name in class_names), default=0)
        labels = [_literal(name) for name in class_names]
        axes.set_xticks(
            range(classes), labels, rotation=45 if longest > 3 else 0, ha="right" if longest > 3 else "center"
        )
        axes.set_yticks(range(classes), labels)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    right, total = float(np.trace(counts)), float(counts.sum())
    accuracy = f", accuracy {right / total:.2%}" if total else ""
    axes.set_title(f"{right:,.6g} of {total:,.6g} right{accuracy}")
    save(figure, path)
    return figure


def _square_root_norm() -> Any:
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, vmin=0, vmax=1)


def _write_counts(axes: Axes, counts: np.ndarray[Any, Any], shares: np.ndarray[Any, Any]) -> None:
    for row, column in np.ndindex(counts.shape):
        value = counts[row, column]
        if value:
            color = "white" if shares[row, column] > 0.3 else "black"
            axes.text(column, row, f"{value:.4g}", ha="center", va="center", color=color, fontsize=9)


def plot_mistakes(
    images: ArrayLike,
    labels: ArrayLike,
    predictions: ArrayLike,
    confidences: ArrayLike,
    path: str | os.PathLike[str] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    count: int = 24,
) -> Figure:
    """Plot the most confident wrong predictions.

    Args:
        images: `[examples, height, width]`, or `[examples, height, width, channels]` with one channel or three, as
            whole numbers from 0 to 255 or floating point from 0 to 1. Other floating-point values are scaled, each
            image by its own smallest and largest.
        labels: integers `[examples]`.
        predictions: integers `[examples]`.
        confidences: `[examples]`, the probabilities of the predicted classes.
        path: the file to write, if any; the suffix decides the format.
        class_names: names to show instead of the numbers.
        count: the largest number of mistakes to show.

    Returns:
        The figure.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     figure = plot_mistakes(np.ones((2, 8, 8)), [3, 4], [3, 9], [0.9, 0.8], folder + "/mistakes.png")
    """
    with needed_for("report.plot_mistakes"):
        from matplotlib.figure import Figure

    pictures = np.asarray(images)
    truth, predicted, sure = (np.asarray(values) for values in (labels, predictions, confidences))
    _check_mistakes(pictures, truth, predicted, sure)
    wrong = np.flatnonzero(truth != predicted)
    shown = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
    columns = min(max(len(shown), 3), 6)
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(1.6 * columns, 2.0 * lines + 0.5), layout="constrained")
    figure.suptitle(_mistakes_title(len(shown), len(wrong), len(truth)))
    for position, index in enumerate(shown, start=1):
        axes = figure.add_subplot(lines, columns, position)
        axes.set_axis_off()
        axes.imshow(_displayable(pictures[index]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        is_label, is_prediction = (_class_name(values[index], class_names) for values in (truth, predicted))
        axes.set_title(f"true: {is_label}\npredicted: {is_prediction} ({sure[index]:.0%})", fontsize=8)
    save(figure, path)
    return figure


def _check_mistakes(
    images: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
    predictions: np.ndarray[Any, Any],
    confidences: np.ndarray[Any, Any],
) -> None:
    if images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[-1] not in (1, 3)):
        raise ValueError(
            "plot_mistakes: images must be [examples, height, width] or [examples, height, width, 1 or 3], "
            f"got {list(images.shape)}"
        )
    for name, values in (("labels", labels), ("predictions", predictions), ("confidences", confidences)):
        if values.shape != images.shape[:1]:
            raise ValueError(f"plot_mistakes: {name} must be [{len(images)}], one per image, got {list(values.shape)}")


def _mistakes_title(shown: int, wrong: int, total: int) -> str:
    if not wrong:
        return f"no mistakes in {total:,} images"
    mistakes = f"{wrong:,} mistake{'s' if wrong > 1 else ''} in {total:,} images"
    return mistakes if shown == wrong else f"the {shown} most confident of {mistakes}"


def _displayable(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The image as floats in [0, 1], without an axis for a single channel."""
    image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    if np.issubdtype(image.dtype, np.integer):
        return image / 255
    image = image.astype(np.float64)
    low, high = float(image.min()), float(image.max())
    if low >= 0 and high <= 1:
        return image
    return (image - low) / (high - low) if high > low else np.zeros(image.shape)


def _class_name(index: Any, names: Sequence[str] | None) -> str:
    return str(index) if names is None else _literal(names[int(index)])


def _literal(text: str) -> str:
    """The text for matplotlib, which takes what is between dollars for a formula."""
    return text.replace("$", r"\$")
