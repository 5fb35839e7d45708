"""The last loss of a round of jaxnets."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from jaxnets import metrics


def last_loss(measured: Any, state: Any) -> float:
    """Wait for the train state, and return the loss of the last step.

    Args:
        measured: the metrics of one step, or of many, stacked.
        state: the train state after it.
    """
    jax.block_until_ready(state.params)
    values = metrics.compute(jax.device_get(measured))["loss"]  # NumPy arrays, so nothing is compiled for this
    return float(np.ravel(values)[-1])
