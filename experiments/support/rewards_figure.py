"""The figure of learning from rewards: what changes over the rounds, by baseline, and if worked sums are seen again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from jaxnets.report.style import BLUE, GREEN, ORANGE, save, tidy, whole_ticks

PANELS = {
    "reward": "reward: share of drawn answers that are right",
    "accuracy": "validation sums: share right, likeliest answer",
    "scratchpad": "share of answers with a scratchpad",
    "length": "length of an answer, characters",
    "kl": "divergence from the start, nats per character (log)",
    "entropy": "entropy, nats per character (log)",
}


def plot_rounds(rows: Sequence[Mapping[str, Any]], runs: Mapping[str, str], path: Path) -> None:
    """Draw a panel for each quantity and a line for each run.

    Args:
        rows: of `metrics.jsonl`, with names such as `group_reward`; not every run has every quantity.
        runs: what the names begin with, and what the legend says.
        path: where to write the figure.
    """
    figure = Figure(figsize=(13, 6.4), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    for axes, (name, title) in zip(panels, PANELS.items(), strict=True):
        for (run, label), color in zip(runs.items(), (BLUE, ORANGE, GREEN), strict=True):
            points = [(row["epoch"], row[key]) for row in rows if (key := f"{run}_{name}") in row]
            if not points:
                continue
            marker = "o" if name == "accuracy" else ""
            axes.plot(*zip(*points, strict=True), color=color, label=label, linewidth=1.6, marker=marker, markersize=4)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("round")
        whole_ticks(axes)
        if name in ("kl", "entropy"):
            if any(line.get_ydata().max() > 0 for line in axes.lines):
                axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0, top=None if name == "length" else 1.02)
        tidy(axes)
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    save(figure, path)
