"""A variational autoencoder of linear layers, 784-400-20-400-784: batch 128, Adam 0.001."""

from __future__ import annotations

import numpy as np

from benchmarks.peer import random_weights

PEERS = ("jaxnets", "flax_nnx", "flax_linen", "equinox_", "haiku_", "keras_", "pytorch", "pytorch_compile")
STEPS = 300
BATCH = 128
BATCHES = 20
RATE = 1e-3
LOG_VARIANCE = 0.0
"""The mean of that layer's bias."""
ONE_STEP = {"LOG_VARIANCE": -40.0}
"""Settings for the comparison of the losses after one step: libraries draw different noise, here next to none."""
LAYERS = {"hidden": (784, 400), "mean": (400, 20), "log_variance": (400, 20), "decoder": (20, 400), "out": (400, 784)}


def weights() -> dict[str, np.ndarray]:
    """Kernels `[in, out]` and biases of the five layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, sizes in LAYERS.items():
        shapes |= {f"{name}/kernel": sizes, f"{name}/bias": sizes[1:]}
    arrays = random_weights(shapes)
    arrays["log_variance/bias"] += LOG_VARIANCE
    return arrays


def data() -> tuple[np.ndarray]:
    """Images `[examples, 784]` of numbers between 0 and 1."""
    return (np.random.default_rng(1).uniform(size=(BATCH * BATCHES, 784)).astype(np.float32),)


def batches(images: np.ndarray) -> list[np.ndarray]:
    """The examples in order, 128 at a time."""
    return [images[i : i + BATCH] for i in range(0, len(images), BATCH)]
