"""PyTorch's MNIST network: conv 32, conv 64, max pool, channel dropout, 128, dropout, 10; batch 64, Adam 0.001."""

from __future__ import annotations

import functools

import numpy as np

from benchmarks.peer import outputs_first, random_weights, split_batches

PEERS = (
    "jaxnets",
    "pytorch",
    "pytorch_channels_last",
    "pytorch_compile",
    "flax_nnx",
    "flax_linen",
    "equinox_",
    "haiku_",
    "keras_",
    "plain_jax",
    "plain_jax_scan",
    "flax_nnx_scan",
    "flax_linen_scan",
    "equinox_scan",
    "haiku_scan",
    "keras_scan",
)
SAME = tuple(peer for peer in PEERS[1:] if not peer.endswith("_scan") or peer == "plain_jax_scan")
STEPS = 20
BATCH = 64
BATCHES = 20
DROPOUT = True
ONE_STEP = {"DROPOUT": False}
"""Settings for the comparison of the losses after one step: libraries draw different masks."""


def weights() -> dict[str, np.ndarray]:
    """Kernels `[kernel, kernel, in, out]` and `[in, out]`; fc1 reads features in the order height, width, channel."""
    shapes = {
        "conv1/kernel": (3, 3, 1, 32),
        "conv1/bias": (32,),
        "conv2/kernel": (3, 3, 32, 64),
        "conv2/bias": (64,),
        "fc1/kernel": (9216, 128),
        "fc1/bias": (128,),
        "fc2/kernel": (128, 10),
        "fc2/bias": (10,),
    }
    return random_weights(shapes)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Images `[examples, 28, 28, 1]` and labels; speed does not depend on their content."""
    generator = np.random.default_rng(1)
    size = BATCH * BATCHES
    images = generator.uniform(size=(size, 28, 28, 1)).astype(np.float32)
    return images, generator.integers(0, 10, size).astype(np.int32)


batches = functools.partial(split_batches, BATCH)
"""The examples in order, batch by batch."""


def channels_first(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """As PyTorch and Equinox keep them: `[out, in, kernel, kernel]`, `[out, in]`; fc1 reads channel by channel."""
    fc1 = weights["fc1/kernel"].reshape(12, 12, 64, 128).transpose(2, 0, 1, 3).reshape(9216, 128)
    return outputs_first(weights | {"fc1/kernel": fc1})
