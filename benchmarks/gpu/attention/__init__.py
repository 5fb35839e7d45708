"""Causal attention, forward and backward, in bfloat16: 16,384 positions in all, 16 heads of 64."""

from __future__ import annotations

import os

import numpy as np

from benchmarks.gpu import SMALL

PEERS = ("jaxnets", "pytorch")
STEPS = 2 if SMALL else 50
LENGTH = int(os.environ.get("JAXNETS_BENCHMARK_LENGTH", "1024"))
POSITIONS = 16_384
BATCH, HEADS, FEATURES = (1, 2, 8) if SMALL else (POSITIONS // LENGTH, 16, 64)
TOLERANCES = {"the mean size of the output": 0.02, "that of the gradients": 0.02}
"""They are computed in bfloat16 and in another order; sizes, so that no difference of large numbers is compared."""


def weights() -> dict[str, np.ndarray]:
    """There are none."""
    return {}


def data() -> tuple[np.ndarray, ...]:
    """Queries, keys, values and the gradient of the result `[batch, length, heads, features]`."""
    generator = np.random.default_rng(1)
    shape = (BATCH, LENGTH, HEADS, FEATURES)
    return tuple(generator.normal(size=shape).astype(np.float32) for _ in range(4))


def flops(length: int) -> float:
    """Of the two products forward and the five backward, half of which a causal mask leaves out."""
    positions = length if SMALL else POSITIONS
    return 7.0 * positions * length * HEADS * FEATURES
