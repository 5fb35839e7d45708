"""A training step of an LSTM: batch 32, length 128, 256 inputs and units, squared error, SGD 0.01.

torch.compile leaves the layer to PyTorch's own routine.
"""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.peer import random_weights, split_batches

PEERS = ("jaxnets", "flax_linen", "flax_nnx", "equinox_", "haiku_", "keras_", "pytorch", "pytorch_compile")
STEPS = 20
BATCH, LENGTH, UNITS = 32, 128, 256
BATCHES = 4
RATE = 0.01
TOLERANCES = {"the loss": 1e-4, "its change by a step": 0.05}
"""One step changes the loss by 35 millionths of it, so rounding is a percent of the change."""


def weights() -> dict[str, np.ndarray]:
    """Kernels `[in, 4 * units]` and a bias, gates in the order i, f, g, o."""
    shapes = {"input": (UNITS, 4 * UNITS), "hidden": (UNITS, 4 * UNITS), "bias": (4 * UNITS,)}
    return random_weights(shapes)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets `[examples, length, units]`."""
    generator = np.random.default_rng(1)
    shape = (BATCH * BATCHES, LENGTH, UNITS)
    return generator.normal(size=shape).astype(np.float32), generator.uniform(-1, 1, shape).astype(np.float32)


batches = functools.partial(split_batches, BATCH)
"""The examples in order, batch by batch."""
