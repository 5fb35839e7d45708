"""Curves as data for the script of a page, from the rows of `metrics.jsonl`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

Point: TypeAlias = tuple[float, float, float | None]
"""Epoch, step and value; None for a value that is not finite."""
Rows: TypeAlias = Sequence[Mapping[str, Any]]

POINTS = 16_000
"""Of all curves of a page: about 500 KB."""
FEWEST = 60


class Series(NamedTuple):
    """One line of a chart.

    Attributes:
        label: its name in the legend.
        points: in the order of the rows.
        color: the number of its color.
        kind: `"line"`; `"thin"`, a run behind the mean of its group; `"mean"`.
        band: epoch, lower and upper end of what is shaded around a mean.
        thinned: how many points there were, if some were left out.
    """

    label: str
    points: list[Point]
    color: int
    kind: str = "line"
    band: list[tuple[float, float, float]] | None = None
    thinned: int = 0


class Chart(NamedTuple):
    """A metric over the epochs."""

    title: str
    series: list[Series]


def metric_names(rows: Rows) -> list[str]:
    """The names of the metrics that are single numbers, in the order in which they come."""
    return list(dict.fromkeys(name for row in rows for name, value in row.items() if is_metric(name, value)))


def is_metric(name: str, value: Any) -> bool:
    """Whether an entry of a row is a number that can be drawn."""
    return name not in ("step", "epoch", "split") and isinstance(value, int | float) and not isinstance(value, bool)


def points_of(rows: Rows, name: str, split: str) -> list[Point]:
    """The points of a metric of one split."""
    chosen = [row for row in rows if row["split"] == split and is_metric(name, row.get(name))]
    return [(row["epoch"], row["step"], row[name] if math.isfinite(row[name]) else None) for row in chosen]


def charts_of(rows: Rows) -> list[Chart]:
    """A chart for each metric of a run, a line for each split."""
    charts = []
    for name in metric_names(rows):
        splits = list(dict.fromkeys(row["split"] for row in rows if is_metric(name, row.get(name))))
        order = [split for split in ("train", "validation", "test") if split in splits]
        order += [split for split in splits if split not in order]
        charts.append(Chart(name, [Series(split, points_of(rows, name, split), i) for i, split in enumerate(order)]))
    return charts


def thinned(charts: Sequence[Chart]) -> list[Chart]:
    """The same charts with so few points that a page stays small; the smallest and largest of each stretch remain."""
    lines = sum(len(chart.series) for chart in charts)
    most = max(POINTS // max(lines, 1), FEWEST)
    return [chart._replace(series=[_thin(series, most) for series in chart.series]) for chart in charts]


def _thin(series: Series, most: int) -> Series:
    points = series.points
    if len(points) <= most:
        return series
    stretches = max(most // 2 - 1, 1)
    edges = [round(i * len(points) / stretches) for i in range(stretches + 1)]
    kept = {0, len(points) - 1}
    for first, last in itertools.pairwise(edges):
        finite = [i for i in range(first, last) if points[i][2] is not None]
        if finite:
            kept |= {min(finite, key=lambda i: points[i][2] or 0.0), max(finite, key=lambda i: points[i][2] or 0.0)}
        elif first < last:
            kept.add(first)
    band = series.band
    if band is not None and len(band) == len(points):
        band = [band[i] for i in sorted(kept)]
    return series._replace(points=[points[i] for i in sorted(kept)], band=band, thinned=len(points))


def as_data(charts: Sequence[Chart]) -> list[dict[str, Any]]:
    """Charts for `charts.js`."""
    return [{"title": chart.title, "series": [_data(series) for series in chart.series]} for chart in charts]


def _data(series: Series) -> dict[str, Any]:
    found: dict[str, Any] = {"label": series.label, "points": series.points, "color": series.color, "kind": series.kind}
    if series.band:
        found["band"] = series.band
    if series.thinned:
        found["thinned"] = series.thinned
    return found
