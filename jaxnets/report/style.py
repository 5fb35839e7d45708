"""One style for all figures: colors that people with any color blindness tell apart, axes, and how they are written."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jaxnets.extras import needed_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, SKY = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
PURPLE, AMBER, BLACK = "#CC79A7", "#E69F00", "#000000"
GRAY = "#666666"
COLORS = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER, BLACK, GRAY)
"""Okabe and Ito's colors without yellow, which is hard to see on white, and a gray; those most different come first."""
MARKERS = "osD^vPX*"
TEN = ("#332288", "#CC6677", "#117733", "#88CCEE", "#DDCC77", "#AA4499", "#44AA99", "#882255", "#999933", "#000000")
"""For ten classes: Paul Tol's muted colors, and black."""
DPI = 120
_CAPTION_INCHES = 0.3


def tidy(axes: Axes, *, grid: bool = True) -> None:
    """Leave out the frame on top and on the right, and draw a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(alpha=0.25)


def whole_ticks(axes: Axes) -> None:
    """Mark whole numbers alone along x: there is no epoch 2.5 to read a value at."""
    with needed_for("report.style"):
        from matplotlib.ticker import MaxNLocator

    if axes.get_xscale() == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def save(figure: Figure, path: str | os.PathLike[str] | None, *, dpi: float = DPI) -> None:
    """Write a figure; in the folder of a run, a line below it says of which.

    A PNG keeps all its colors: one with a palette would merge those of neighbors.

    Args:
        figure: the figure.
        path: the file; the suffix decides the format. None writes nothing.
        dpi: pixels an inch.
    """
    if path is None:
        return
    with needed_for("report.style"):
        from matplotlib.transforms import Bbox

    path = Path(path).expanduser()
    caption, area = run_caption(path.parent), None
    if caption:
        width, height = figure.get_size_inches()
        x, y = 1 - 0.1 / width, -0.08 / height  # below the figure, so that its layout stays
        line = figure.text(x, y, caption, ha="right", va="top", fontsize=8, color=GRAY, parse_math=False)
        area = Bbox([[0, -_CAPTION_INCHES], [width, height]])
        with _laid_out(figure):
            figure.savefig(path, dpi=dpi, bbox_inches=area)
        line.remove()
        return
    figure.savefig(path, dpi=dpi)


@contextlib.contextmanager
def _laid_out(figure: Figure) -> Iterator[None]:
    """Keep the layout while a larger area is drawn: a legend "outside lower" would go down to the edge of that."""
    figure.draw_without_rendering()
    engine = figure.get_layout_engine()
    legends = [legend for legend in figure.legends if legend.get_bbox_to_anchor() is figure.bbox]
    figure.set_layout_engine("none")
    for legend in legends:
        legend.set_bbox_to_anchor((0, 0, 1, 1), figure.transFigure)
    try:
        yield
    finally:
        for legend in legends:
            legend.set_bbox_to_anchor(None)
        figure.set_layout_engine(engine)


def run_caption(folder: Path) -> str:
    """Say which run a folder is of: experiment, seed and name of the folder; empty for any other folder.

    Example:
        >>> run_caption(Path("/no/such/folder"))
        ''
    """
    try:
        seed = json.loads((folder / "config.json").read_bytes())["seed"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return f"{experiment_of(folder)}, seed {seed}, run {folder.resolve().name}"


def experiment_of(folder: Path) -> str:
    """The experiment of a run: from its result, else that of `runs/<experiment>/<run>`, else the folder's name."""
    try:
        return str(json.loads((folder / "result.json").read_bytes())["experiment"])
    except (OSError, ValueError, KeyError, TypeError):
        folder = folder.resolve()
        return folder.parent.name if folder.parent.parent.name == "runs" else folder.name
