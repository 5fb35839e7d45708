"""The last loss of a round of jaxnets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxnets import metrics


def last_loss(measured: Any, state: Any, names: Sequence[str] = ("loss",)) -> float:
    """Wait for the train state, and return the loss of the last step, or the sum of several.

    Args:
        measured: the metrics of one step, or of many, stacked.
        state: the train state after it.
        names: of the metrics that are losses.
    """
    jax.block_until_ready(state.params)
    values = metrics.compute(jax.device_get(measured))  # NumPy arrays, so nothing is compiled for this
    return sum(float(np.ravel(values[name])[-1]) for name in names)
