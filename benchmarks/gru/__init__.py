"""Two bidirectional GRU layers: batch 32, length 128, 128 inputs, 128 units per direction, squared error, SGD 0.01.

Haiku is missing, because its GRU applies the reset gate before the product, not after it. torch.compile leaves the
layers to PyTorch's own routine.
"""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.peer import random_weights, split_batches

PEERS = ("jaxnets", "flax_linen", "flax_nnx", "equinox_", "keras_", "pytorch", "pytorch_compile")
STEPS = 20
BATCH, LENGTH, UNITS, LAYERS = 32, 128, 128, 2
BATCHES = 20
RATE = 0.01


def weights() -> dict[str, np.ndarray]:
    """Each layer's and direction's kernels `[in, 3 * units]`, bias, and the candidate's bias inside the product.

    The gates are in the order reset, update, candidate: `1/backward/input_kernel`.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(LAYERS):
        for direction in ("forward", "backward"):
            shapes |= {
                f"{layer}/{direction}/input_kernel": ((2 if layer else 1) * UNITS, 3 * UNITS),
                f"{layer}/{direction}/hidden_kernel": (UNITS, 3 * UNITS),
                f"{layer}/{direction}/bias": (3 * UNITS,),
                f"{layer}/{direction}/hidden_bias": (UNITS,),
            }
    return random_weights(shapes)


def two_biases(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Both biases `[3 * units]`, as in PyTorch and Keras, whose gates have an input and a hidden bias."""
    zeros = np.zeros(2 * UNITS, np.float32)
    return {
        name: np.concatenate([zeros, array]) if name.endswith("hidden_bias") else array
        for name, array in weights.items()
    }


def data() -> tuple[np.ndarray, np.ndarray]:
    """Inputs `[examples, length, units]` and targets `[examples, length, 2 * units]`."""
    generator = np.random.default_rng(1)
    shape = (BATCH * BATCHES, LENGTH, UNITS)
    inputs = generator.normal(size=shape).astype(np.float32)
    return inputs, generator.uniform(-1, 1, (*shape[:2], 2 * UNITS)).astype(np.float32)


batches = functools.partial(split_batches, BATCH)
"""The examples in order, batch by batch."""
