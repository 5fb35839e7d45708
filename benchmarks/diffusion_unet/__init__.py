"""A U-Net for diffusion: 16 and 32 channels, attention in the middle; batch 64 of 14 x 14 x 4, Adam 0.002, clipping.

Sizes of `experiments/mnist_diffusion.py`: digits whose 2 x 2 pixels are channels, of ten classes and none, the velocity
predicted. Noise and times are given, so that all programs see the same; parameters are not averaged.
"""

from __future__ import annotations

import numpy as np

from benchmarks.peer import random_weights, scales_near_one, split_batches

PEERS = ("jaxnets", "flax_linen", "pytorch", "pytorch_channels_last", "pytorch_compile")
STEPS = 20
BATCHES = 20
BATCH, SIZE, CHANNELS, CLASSES = 64, 14, 4, 10
FEATURES, GROUPS = 16, 4
RATE, CLIP = 2e-3, 1.0
SCHEDULE = 200


def shares() -> np.ndarray:
    """How much of the signal's variance is left after each step, along a cosine."""
    cosine = np.cos(np.pi / 2 * (np.arange(1, SCHEDULE + 1) / SCHEDULE + 0.008) / 1.008) ** 2
    return np.clip(cosine / np.cos(np.pi / 2 * 0.008 / 1.008) ** 2, 1e-6, 1).astype(np.float32)


def weights() -> dict[str, np.ndarray]:
    """The arrays of the library's model, by path; kernels of attention are `[channels, 1, channels]`."""
    low, condition = 2 * FEATURES, 4 * FEATURES
    shapes: dict[str, tuple[int, ...]] = {"classes/embedding": (CLASSES + 1, condition)}
    linear = {"time1": (FEATURES, condition), "time2": (condition, condition)}
    convolutions = {
        "first": (CHANNELS, FEATURES),
        "down/0/resize": (FEATURES, FEATURES),
        "up/0/resize": (low, low),
        "last": (FEATURES, CHANNELS),
    }
    blocks = {
        "down/0/blocks/0/residual": (FEATURES, FEATURES),
        "down/1/blocks/0/residual": (FEATURES, low),
        "middle/residual1": (low, low),
        "middle/residual2": (low, low),
        "up/0/blocks/0/residual": (2 * low, low),
        "up/0/blocks/1/residual": (low + FEATURES, low),
        "up/1/blocks/0/residual": (low + FEATURES, FEATURES),
        "up/1/blocks/1/residual": (2 * FEATURES, FEATURES),
    }
    for path, (before, after) in blocks.items():
        linear[f"{path}/shift"] = condition, after
        convolutions |= {f"{path}/conv1": (before, after), f"{path}/conv2": (after, after)}
        shapes |= _norm(f"{path}/norm1", before) | _norm(f"{path}/norm2", after)
        if before != after:
            shapes |= {f"{path}/shortcut/kernel": (1, 1, before, after), f"{path}/shortcut/bias": (after,)}
    for path, sizes in linear.items():
        shapes |= {f"{path}/kernel": sizes, f"{path}/bias": sizes[1:]}
    for path, (before, after) in convolutions.items():
        shapes |= {f"{path}/kernel": (3, 3, before, after), f"{path}/bias": (after,)}
    shapes |= _norm("norm", FEATURES) | _norm("middle/attention/norm", low)
    for name in ("query", "key", "value"):
        path = f"middle/attention/attention/{name}"
        shapes |= {f"{path}/kernel": (low, 1, low), f"{path}/bias": (1, low)}
    path = "middle/attention/attention/out"
    shapes |= {f"{path}/kernel": (1, low, low), f"{path}/bias": (low,)}
    return scales_near_one(random_weights(shapes))


def _norm(path: str, channels: int) -> dict[str, tuple[int, ...]]:
    return {f"{path}/{part}": (channels,) for part in ("scale", "bias")}


def data() -> tuple[np.ndarray, ...]:
    """Images and noise `[examples, 14, 14, 4]`, times and classes `[examples]`, one of which is none."""
    generator, count = np.random.default_rng(1), BATCH * BATCHES
    images, noise = (generator.normal(size=(count, SIZE, SIZE, CHANNELS)).astype(np.float32) for _ in range(2))
    numbers = (generator.integers(0, bound, count).astype(np.int32) for bound in (SCHEDULE, CLASSES + 1))
    return images, noise, *numbers


def batches(*arrays: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """The examples in order, batch by batch."""
    return split_batches(BATCH, *arrays)
