"""The CIFAR ResNet-20, shortcuts without parameters: batch 128 of 32 x 32 x 3, SGD 0.1 with momentum 0.9."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.peer import random_weights, split_batches

PEERS = (
    "jaxnets",
    "flax_nnx",
    "flax_linen",
    "equinox_",
    "haiku_",
    "keras_",
    "pytorch",
    "pytorch_channels_last",
    "pytorch_compile",
)
SAME = ("pytorch", "pytorch_channels_last", "pytorch_compile")
STEPS = 8
BATCH = 128
BATCHES = 8
RATE, MOMENTUM = 0.1, 0.9
WIDTH = 16
BLOCKS = ((16, 1), (16, 1), (16, 1), (32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1))
"""Channels and stride of each block."""


def weights() -> dict[str, np.ndarray]:
    """Kernels `[kernel, kernel, in, out]`, the norms' scales and biases, and the linear layer.

    Two convolutions per block, `blocks/3/conv1/conv/kernel` with `blocks/3/conv1/norm/scale`.
    """
    shapes: dict[str, tuple[int, ...]] = _conv_norm("stem", 3, WIDTH)
    before = WIDTH
    for i, (channels, _) in enumerate(BLOCKS):
        shapes |= _conv_norm(f"blocks/{i}/conv1", before, channels)
        shapes |= _conv_norm(f"blocks/{i}/conv2", channels, channels)
        before = channels
    arrays = random_weights(shapes | {"fc/kernel": (before, 10), "fc/bias": (10,)})
    return {name: 1 + 0.1 * array if name.endswith("scale") else array for name, array in arrays.items()}


def _conv_norm(path: str, before: int, after: int) -> dict[str, tuple[int, ...]]:
    return {f"{path}/conv/kernel": (3, 3, before, after), f"{path}/norm/scale": (after,), f"{path}/norm/bias": (after,)}


def data() -> tuple[np.ndarray, np.ndarray]:
    """Images `[examples, 32, 32, 3]` and labels; speed does not depend on their content."""
    generator = np.random.default_rng(1)
    size = BATCH * BATCHES
    images = generator.normal(size=(size, 32, 32, 3)).astype(np.float32)
    return images, generator.integers(0, 10, size).astype(np.int32)


batches = functools.partial(split_batches, BATCH)
"""The examples in order, batch by batch."""
