"""Depthwise-separable convolutions: stem 32, six blocks of 32 to 128, mean, 10; batch 64 of 32 x 32 x 3, SGD 0.05."""

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
STEPS = 20
BATCH = 64
BATCHES = 20
RATE, MOMENTUM = 0.05, 0.9
WIDTH = 32
BLOCKS = ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (128, 1))
"""Channels and stride of each block."""


def weights() -> dict[str, np.ndarray]:
    """Kernels `[kernel, kernel, in, out]`, depthwise ones `[kernel, kernel, 1, channels]`, the norms, and `fc`."""
    shapes: dict[str, tuple[int, ...]] = {"stem/kernel": (3, 3, 3, WIDTH), "stem/bias": (WIDTH,)}
    before = WIDTH
    for i, (after, _) in enumerate(BLOCKS):
        block = f"blocks/{i}"
        shapes |= {f"{block}/depthwise/kernel": (3, 3, 1, before), f"{block}/pointwise/kernel": (1, 1, before, after)}
        shapes |= {f"{block}/norm1/{part}": (before,) for part in ("scale", "bias")}
        shapes |= {f"{block}/norm2/{part}": (after,) for part in ("scale", "bias")}
        before = after
    arrays = random_weights(shapes | {"fc/kernel": (before, 10), "fc/bias": (10,)})
    return {name: 1 + 0.1 * array if name.endswith("scale") else array for name, array in arrays.items()}


def data() -> tuple[np.ndarray, np.ndarray]:
    """Images `[examples, 32, 32, 3]` and labels; speed does not depend on their content."""
    generator = np.random.default_rng(1)
    size = BATCH * BATCHES
    images = generator.normal(size=(size, 32, 32, 3)).astype(np.float32)
    return images, generator.integers(0, 10, size).astype(np.int32)


batches = functools.partial(split_batches, BATCH)
"""The examples in order, batch by batch."""
