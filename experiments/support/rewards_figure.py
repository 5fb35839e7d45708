"""The figure of learning from rewards: what changes over the rounds, with and without a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from experiments.support.figures import BLUE, ORANGE, tidy

PANELS = {
    "reward": "reward: share of drawn answers that are right",
    "held_out_accuracy": "held out: share right, likeliest answer",
    "scratchpad": "share of answers with a scratchpad",
    "length": "length of an answer, characters",
    "kl": "divergence from the start, nats per character (log)",
    "entropy": "entropy, nats per character (log)",
}


def plot_rounds(rows: Sequence[Mapping[str, Any]], baselines: Mapping[str, str], path: Path) -> None:
    """Draw a panel for each quantity and a line for each baseline.

    Args:
        rows: of `metrics.jsonl`, with names such as `group_reward`.
        baselines: what the names begin with, and what the legend says.
        path: where to write the figure.
    """
    figure = Figure(figsize=(13, 6.4), layout="constrained")
    for axes, (name, title) in zip(figure.subplots(2, 3).ravel(), PANELS.items(), strict=True):
        for (baseline, label), color in zip(baselines.items(), (BLUE, ORANGE), strict=False):
            points = [(row["epoch"], row[key]) for row in rows if (key := f"{baseline}_{name}") in row]
            marker = "o" if name == "held_out_accuracy" else ""
            axes.plot(*zip(*points, strict=True), color=color, label=label, linewidth=1.6, marker=marker, markersize=4)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("round")
        if name in ("kl", "entropy"):
            if any(line.get_ydata().max() > 0 for line in axes.lines):
                axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0, top=None if name == "length" else 1.02)
        tidy(axes)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False)
    figure.savefig(path, dpi=110)
