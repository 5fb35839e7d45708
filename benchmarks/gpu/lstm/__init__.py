"""A training step of an LSTM in float32: batch 64, length 256, 512 inputs and units, squared error, SGD 0.01."""

from __future__ import annotations

import numpy as np

from benchmarks.gpu import SMALL
from benchmarks.peer import random_weights

PEERS = ("jaxnets", "jaxnets_cudnn", "pytorch")
STEPS = 2 if SMALL else 20
BATCH, LENGTH, UNITS = (2, 4, 8) if SMALL else (64, 256, 512)
RATE = 0.01
TOLERANCES = {"the loss": 1e-3, "its change by a step": 0.5}
"""Both compute products in TF32 where the library says so. A wrong sign or rate would show in the change."""


def weights() -> dict[str, np.ndarray]:
    """Kernels `[in, 4 * units]` and a bias, gates in the order i, f, g, o."""
    return random_weights({"input": (UNITS, 4 * UNITS), "hidden": (UNITS, 4 * UNITS), "bias": (4 * UNITS,)})


def data() -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets `[batch, length, units]`."""
    generator = np.random.default_rng(1)
    shape = (BATCH, LENGTH, UNITS)
    return generator.normal(size=shape).astype(np.float32), generator.uniform(-1, 1, shape).astype(np.float32)


def flops() -> float:
    """Per step: two products per gate and position, three times."""
    return 3.0 * 2 * BATCH * LENGTH * 2 * UNITS * 4 * UNITS
