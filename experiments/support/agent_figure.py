"""The figure of the agent: how many questions it answers, with the tool, without, and when something goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from jaxnets.report.style import BLUE, GRAY, GREEN, ORANGE, SKY, save, tidy

ENDS = {"right": BLUE, "wrong": ORANGE, "too many calls": GRAY, "too long": SKY}


def plot_agent(found: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw right answers by the number of operators, and how all questions end under each condition."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.3))
    operators = sorted(name for name in found["with the tool"] if name.startswith("right_"))
    for place, (name, color) in enumerate((("with the tool", BLUE), ("without the tool", GREEN))):
        heights = [100 * found[name][key] for key in operators]
        bars = left.bar(np.arange(len(operators)) + 0.4 * place - 0.2, heights, 0.4, color=color, label=name)
        left.bar_label(bars, [f"{height:.0f}" for height in heights], fontsize=9)
    left.set_xticks(range(len(operators)), [name.split("_")[1] for name in operators])
    left.set_xlabel("operators in the question")
    left.set_ylabel("right answers, %")
    left.set_ylim(0, 118)
    left.legend(frameon=False, ncols=2, loc="upper center")
    tidy(left)

    names = list(found)
    start = np.zeros(len(names))
    for end, color in ENDS.items():
        shares = np.array([100 * share(found[name], end) for name in names])
        right.barh(names, shares, left=start, color=color, label=end)
        start += shares
    right.invert_yaxis()
    right.set_xlim(0, 100)
    right.set_xlabel("questions, %")
    figure.legend(*right.get_legend_handles_labels(), loc="outside upper right", ncols=len(ENDS), frameon=False)
    tidy(right, grid=False)
    save(figure, path)


def share(found: Mapping[str, float], end: str) -> float:
    """The share of questions that end so; a right answer counts as such only if it has an end."""
    return found["answered"] - found["right"] if end == "wrong" else found[end]
