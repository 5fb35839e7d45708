"""The figure of `transfer_products`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from jaxnets.report.style import COLORS, MARKERS, save, tidy


def plot_transfer(accuracies: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw the test accuracy of each way over the number of examples of a class."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    for number, (way, by_count) in enumerate(accuracies.items()):
        counts = [int(count) for count in by_count]
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        axes.plot(counts, list(by_count.values()), color=color, marker=marker, label=way)
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.set_xlabel("pictures of each class")
    axes.set_ylabel("test accuracy")
    tidy(axes)
    figure.legend(title="what is trained", frameon=False, loc="outside right upper")
    save(figure, path)
