"""The figure of the strings of digits: what is heard, and when the network says which digit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.support.digit_sounds import DIGITS, HOP, SAMPLE_RATE
from experiments.support.digit_strings import Strings
from jaxnets.report.style import GRAY, TEN, save, tidy

SHOWN = 2
SAID = 0.5
"""The probability from which a digit is written above its peak."""


def plot_alignments(strings: Strings, probabilities: np.ndarray, joined: int, path: Path) -> None:
    """Draw the first strings: spectrogram above, probabilities `[strings, times, 1 + digits]` of the digits below."""
    count = min(SHOWN, len(strings.frames))
    figure = Figure(figsize=(7 * count, 5), layout="constrained")
    grid: Any = figure.subplots(2, count, sharex="col", squeeze=False, height_ratios=(1.2, 1.0))
    for place in range(count):
        frames = int(strings.frames[place])
        seconds = frames * HOP / SAMPLE_RATE
        above, below = grid[:, place]
        sound = strings.sounds[place, :frames].T
        above.imshow(sound, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, 0, len(sound)))
        digits = strings.digits[place, : strings.lengths[place]]
        above.set_title("said: " + " ".join(map(str, digits)))
        _draw_probabilities(below, probabilities[place, : frames // joined], joined * HOP / SAMPLE_RATE)
    grid[0, 0].set_ylabel("mel band")
    grid[1, 0].set_ylabel("probability")
    save(figure, path)


def _draw_probabilities(axes: Axes, probabilities: np.ndarray, step: float) -> None:
    seconds = (np.arange(len(probabilities)) + 0.5) * step
    axes.plot(seconds, probabilities[:, 0], color=GRAY, linewidth=0.8, linestyle="--", label="no digit")
    for digit in range(DIGITS):
        values = probabilities[:, digit + 1]
        axes.plot(seconds, values, color=TEN[digit], linewidth=1.6)
        for peak in _peaks(values):
            axes.text(seconds[peak], values[peak] + 0.03, str(digit), color=TEN[digit], ha="center", fontsize=11)
    axes.set_ylim(0, 1.18)
    axes.set_xlabel("time (s)")
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 0.98), fontsize=9)
    tidy(axes)


def _peaks(values: np.ndarray) -> list[int]:
    """The largest value of each stretch in which a digit is likelier than all else."""
    likely = np.concatenate([[False], values > SAID, [False]])
    first, behind = np.flatnonzero(likely[1:] & ~likely[:-1]), np.flatnonzero(~likely[1:] & likely[:-1])
    return [int(start) + int(np.argmax(values[start:end])) for start, end in zip(first, behind, strict=True)]
