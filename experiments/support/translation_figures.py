"""The figure of translation: where a network looks in the source for each word of its translation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.support.translation import Texts
from jaxnets.report.style import save

END = "(end)"


def plot_attention(weights: np.ndarray, shown: Texts, path: Path) -> None:
    """Draw the weights of attention `[sentences, target_time, source_time]`, a panel for each sentence."""
    rows = -(-len(shown.source) // 2)
    figure = Figure(figsize=(12, 5.6 * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for panel, of_one, source, target in zip(axes, weights, *shown, strict=False):
        read, written = [*source.split(), END], [*target.split(), END]
        picture = panel.imshow(of_one[: len(written), : len(read)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
        panel.set_xticks(range(len(read)), read, rotation=40, ha="right", rotation_mode="anchor")
        panel.set_yticks(range(len(written)), written)
        panel.tick_params(length=0)
    for unused in axes[len(shown.source) :]:
        unused.remove()
    figure.supxlabel("words read")
    figure.supylabel("words written")
    figure.colorbar(picture, ax=axes[: len(shown.source)].tolist(), shrink=0.6, label="weight of attention")
    save(figure, path)
