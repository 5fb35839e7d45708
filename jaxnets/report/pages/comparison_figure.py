"""The figure of a comparison."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxnets.extras import needed_for
from jaxnets.report.pages.curves import Chart, Series
from jaxnets.report.pages.groups import Group
from jaxnets.report.style import COLORS, MARKERS, save, tidy, whole_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_DASHES = ("-", "--", ":", "-.")
_MOST_PANELS = 12


def plot_comparison(groups: Sequence[Group], path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the curves of all runs and the means of groups, a panel for each metric and split; at most twelve."""
    with needed_for("report.compare_runs"):
        from matplotlib.figure import Figure

    from jaxnets.report.pages.comparison import charts_of_groups

    charts = charts_of_groups(groups)
    if not charts:
        raise ValueError("compare: no run has a curve; expected rows in metrics.jsonl")
    shown = charts[:_MOST_PANELS]
    columns = min(3 if len(shown) > 4 else 2, len(shown))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(5.2 * columns, 3.4 * rows + 0.35 * len(groups)), layout="constrained")
    for position, chart in enumerate(shown, start=1):
        _draw(figure.add_subplot(rows, columns, position), chart)
    lines: dict[str, Line2D] = {}
    for axes in figure.axes:
        lines |= {str(line.get_label()): line for line in axes.lines if not str(line.get_label()).startswith("_")}
    figure.legend(handles=list(lines.values()), loc="outside lower left", frameon=False)
    if len(charts) > len(shown):
        figure.suptitle(f"{len(shown)} of {len(charts)} metrics", fontsize=10)
    save(figure, path)
    return figure


def _draw(axes: Axes, chart: Chart) -> None:
    drawn = []
    for series in chart.series:
        points = [(epoch, value) for epoch, _, value in series.points if value is not None]
        drawn += [value for _, value in points]
        if points:
            _line(axes, series, points)
    axes.set_title(chart.title.replace("$", r"\$"), fontsize=11)
    axes.set_xlabel("epoch")
    whole_ticks(axes)
    if drawn and min(drawn) > 0 and max(drawn) > 10 * min(drawn):
        axes.set_yscale("log")
        axes.set_ylabel("log scale")
    tidy(axes)


def _line(axes: Axes, series: Series, points: list[tuple[float, float]]) -> None:
    x, y = zip(*points, strict=True)
    color = COLORS[series.color % len(COLORS)]
    label = series.label.replace("$", r"\$")
    if series.kind == "thin":
        axes.plot(x, y, color=color, linewidth=0.8, alpha=0.45)
        return
    if series.kind == "line":
        axes.plot(
            x, y, color=color, linewidth=1.6, marker=MARKERS[series.color % len(MARKERS)], markersize=3, label=label
        )
        return
    axes.plot(x, y, color=color, linewidth=2.2, linestyle=_DASHES[series.color % len(_DASHES)], label=label)
    if series.band:
        at, low, high = zip(*series.band, strict=True)
        axes.fill_between(at, low, high, color=color, alpha=0.14, linewidth=0)
