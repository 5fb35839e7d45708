"""Colors and axes of the figures. The colors are Okabe and Ito's: people with any color blindness tell them apart."""

from __future__ import annotations

from matplotlib.axes import Axes

BLUE, ORANGE, GREEN, SKY = "#0072B2", "#D55E00", "#009E73", "#56B4E9"
GRAY = "#666666"


def tidy(axes: Axes, *, grid: bool = True) -> None:
    """Leave out the frame on top and on the right, and draw a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    if grid:
        axes.grid(alpha=0.25)
