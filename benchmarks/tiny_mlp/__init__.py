"""The overhead per step: an 8-12-8-1 network, batch 10, Adam 0.001, binary cross-entropy."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from benchmarks.peer import random_weights, split_batches

PEERS = (
    "jaxnets",
    "jaxnets_scan",
    "plain_jax",
    "flax_nnx",
    "flax_linen",
    "equinox_",
    "haiku_",
    "keras_",
    "pytorch",
    "pytorch_compile",
)
STEPS = 1000
BATCH = 10
BATCHES = 50
SIZES = (8, 12, 8, 1)


def weights() -> dict[str, np.ndarray]:
    """Kernels `[in, out]` and biases of fc1, fc2, fc3."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (features_in, features_out) in enumerate(itertools.pairwise(SIZES), start=1):
        shapes |= {f"fc{i}/kernel": (features_in, features_out), f"fc{i}/bias": (features_out,)}
    return random_weights(shapes)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Features `[examples, 8]` and labels 0.0 or 1.0 `[examples]`."""
    generator = np.random.default_rng(1)
    size = BATCH * BATCHES
    return generator.normal(size=(size, 8)).astype(np.float32), generator.integers(0, 2, size).astype(np.float32)


batches = functools.partial(split_batches, BATCH)
"""The examples in order, batch by batch."""
