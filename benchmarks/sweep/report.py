"""Sum up a sweep in tables and draw its maps."""

from __future__ import annotations

import datetime
import os
import statistics
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.sweep.case import Cell
from benchmarks.sweep.measure import OPERATIONS, SLOWER, Times

Found = list[tuple[Cell, Times]]
FASTER_COLOR, SLOWER_COLOR = "#0072B2", "#D55E00"
"""Blue and orange of Okabe and Ito, which all kinds of color vision tell apart."""
LIMIT = 4.0
"""Ratios beyond this, or below its inverse, have the color of it."""
WORST = 10
"""So many cells are listed with their settings."""


def ratios(milliseconds: Times) -> tuple[float, float]:
    """The time of jaxnets divided by that of plain JAX, and by that of the faster program of PyTorch; of medians."""
    median = {name: statistics.median(values) for name, values in milliseconds.items()}
    theirs = min(value for name, value in median.items() if name.startswith("pytorch"))
    return median["jaxnets"] / median["jax"], median["jaxnets"] / theirs


def summary(found: Found) -> str:
    """One row for each operation, and one for all."""
    lines = [
        f"| operation | cells | of plain JAX: median (min, max) | cells above {SLOWER} | "
        "of PyTorch: median (min, max) | cells ahead of PyTorch |",
        "|---|---|---|---|---|---|",
    ]
    for name in [*OPERATIONS, "all"]:
        here = np.array([ratios(times) for cell, times in found if name in ("all", cell.operation)])
        if len(here):
            spreads = [f"{np.median(r):.2f} ({r.min():.2f}, {r.max():.2f})" for r in here.T]
            above, ahead = int(np.sum(here[:, 0] > SLOWER)), np.mean(here[:, 1] < 1)
            lines.append(f"| {name} | {len(here)} | {spreads[0]} | {above} | {spreads[1]} | {ahead:.0%} |")
    return "\n".join(lines)


def slowest(found: Found, peer: int, count: int) -> str:
    """The cells with the largest ratios to plain JAX (`peer` 0) or PyTorch (1)."""
    lines = ["| operation | settings | ms | of plain JAX | of PyTorch | rounds |", "|---|---|---|---|---|---|"]
    for cell, times in sorted(found, key=lambda pair: -ratios(pair[1])[peer])[:count]:
        settings = ", ".join(f"{name} {value}" for name, value in cell.settings.items())
        numbers = " | ".join(f"{ratio:.2f}" for ratio in ratios(times))
        ours = times["jaxnets"]
        lines.append(f"| {cell.operation} | {settings} | {statistics.median(ours):.3g} | {numbers} | {len(ours)} |")
    return "\n".join(lines)


def report(found: Found, seed: int) -> str:
    """Everything in Markdown."""
    cores = len(os.sched_getaffinity(0))
    clock = "processor time of one core" if cores == 1 else f"wall time of {cores} cores"
    note = (
        f"Forward and all gradients, float32, shapes drawn with seed {seed}, {clock}. "
        "All programs ran in one process in turns, in an order that rotates, with the allocator setting of jaxnets; "
        "ratios are of medians. The results of all programs were compared first. A cell above "
        f"{SLOWER} of plain JAX was measured a second time with three times the rounds, and the second measurement "
        "counts. PyTorch is eager; of two layouts of images the faster one counts."
    )
    above = [pair for pair in found if ratios(pair[1])[0] > SLOWER]
    parts = [
        f"# Sweep, {datetime.date.today().isoformat()}",
        machine.describe(),
        note,
        summary(found),
        f"## Cells above {SLOWER} of plain JAX",
        slowest(above, 0, len(above)) if above else "None.",
        "## The cells farthest behind PyTorch",
        slowest(found, 1, WORST),
    ]
    return "\n\n".join(parts)


def draw(found: Found, path: Path) -> None:
    """Draw two maps for each operation: the ratios to plain JAX and to PyTorch."""
    from matplotlib.colors import LinearSegmentedColormap, LogNorm
    from matplotlib.figure import Figure

    sizes = {name: (len(operation.rows), len(operation.columns)) for name, operation in OPERATIONS.items()}
    heights = [rows + 3.5 for rows, _ in sizes.values()]
    figure = Figure(figsize=(15, 0.36 * sum(heights)), layout="constrained")
    panels = figure.subplots(len(sizes), 2, height_ratios=heights)
    colors = LinearSegmentedColormap.from_list("ratio", [FASTER_COLOR, "#FFFFFF", SLOWER_COLOR])
    colors = colors.with_extremes(bad="#DDDDDD")
    norm = LogNorm(1 / LIMIT, LIMIT)
    for line, (name, operation) in zip(panels, OPERATIONS.items(), strict=True):
        rows, columns = list(operation.rows), list(operation.columns)
        for peer, axes in enumerate(line):
            table = np.full(sizes[name], np.nan)
            for cell, times in found:
                if cell.operation == name:
                    table[rows.index(cell.row), columns.index(cell.column)] = ratios(times)[peer]
            image = axes.imshow(table, cmap=colors, norm=norm, aspect="auto")
            for place, ratio in np.ndenumerate(table):
                far = abs(np.log(ratio)) > 0.7 * np.log(LIMIT)
                if np.isfinite(ratio):
                    style = {"color": "white" if far else "black", "ha": "center", "va": "center", "fontsize": 8}
                    axes.text(place[1], place[0], f"{ratio:.2f}", **style)
            axes.set_xticks(range(len(columns)), columns, fontsize=8)
            axes.set_yticks(range(len(rows)), rows if peer == 0 else [], fontsize=8)
            axes.tick_params(length=0)
            axes.set_title(f"{operation.title}\njaxnets / {('plain JAX', 'PyTorch')[peer]}", fontsize=9)
    bar = figure.colorbar(image, ax=panels, location="bottom", shrink=0.5, aspect=50, pad=0.01)
    ticks = (0.25, 0.5, 1, 2, 4)
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.minorticks_off()
    bar.set_label("time of jaxnets divided by the other's (log scale); below 1 jaxnets is faster")
    figure.savefig(path, dpi=110, bbox_inches="tight")
