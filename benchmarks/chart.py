"""A chart of a run: each peer's time as a multiple of jaxnets' time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.compare import Timing

OURS, FASTER, SLOWER = "#0072B2", "#D55E00", "#999999"
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)


def draw(cases: Mapping[str, Sequence[Timing]], path: Path) -> None:
    """Draw one panel per case and one bar per peer; the line and the blue bar are jaxnets."""
    from matplotlib.figure import Figure

    columns = 2 if len(cases) > 1 else 1
    rows = -(-len(cases) // columns)
    tallest = max(len(timings) for timings in cases.values())
    figure = Figure(figsize=(6.5 * columns, rows * (0.28 * tallest + 1.0)), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, timings) in zip(panels, cases.items(), strict=False):
        ours = next(timing.median for timing in timings if timing.peer == "jaxnets")
        ordered = sorted(timings, key=lambda timing: -timing.median)
        for place, timing in enumerate(ordered):
            ratio = timing.median / ours
            color = OURS if timing.peer == "jaxnets" else FASTER if ratio < 1 else SLOWER
            axes.barh(place, ratio, color=color, height=0.7)
            axes.text(ratio, place, f" {ratio:,.2f}", va="center", fontsize=8)
        axes.set_yticks(range(len(ordered)), [label(timing) for timing in ordered], fontsize=8)
        axes.axvline(1, color=OURS, linewidth=1)
        axes.set_xscale("log")
        low, high = (bound(timing.median for timing in timings) / ours for bound in (min, max))
        axes.set_xlim(0.6 * low, 3 * high)
        ticks = [tick for tick in TICKS if 0.6 * low <= tick <= 3 * high]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("time per step, as a multiple of jaxnets (log scale)")
        axes.set_title(name)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(cases) :]:
        axes.set_visible(False)
    figure.savefig(path, dpi=120)


def label(timing: Timing) -> str:
    """The peer's name, and whether it has our allocator setting."""
    name = timing.peer.rstrip("_").replace("_", " ")
    return f"{name}, same allocator" if timing.environment == "same" and timing.peer != "jaxnets" else name
