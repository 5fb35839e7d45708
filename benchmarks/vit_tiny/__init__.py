"""A Vision Transformer, ViT-Tiny of 4 x 4 patches: batch 32, images 32 x 32 x 3, 10 classes, Adam 0.001."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from benchmarks.nanogpt.blocks import nested, random_blocks
from benchmarks.peer import random_weights, split_batches

PEERS = ("jaxnets", "flax_nnx", "flax_linen", "equinox_", "haiku_", "keras_", "pytorch", "pytorch_compile")
SAME = ("pytorch", "pytorch_compile")
STEPS = 4
BATCH, SIZE, PATCH, CLASSES = 32, 32, 4, 10
LAYERS, HEADS, FEATURES = 12, 3, 192
POSITIONS = (SIZE // PATCH) ** 2 + 1
EPSILON = 1e-6


def weights() -> dict[str, Any]:
    """The same as in the library's model, except that the blocks are a list."""
    before = {
        "patches/kernel": (PATCH, PATCH, 3, FEATURES),
        "patches/bias": (FEATURES,),
        "class_token": (1, 1, FEATURES),
        "positions": (1, POSITIONS, FEATURES),
    }
    after = {
        "norm/scale": (FEATURES,),
        "norm/bias": (FEATURES,),
        "fc/kernel": (FEATURES, CLASSES),
        "fc/bias": (CLASSES,),
    }
    arrays = nested(random_weights(before | after))
    return arrays | {"blocks": random_blocks(LAYERS, FEATURES, HEADS, bias=True)}


def data() -> tuple[np.ndarray, np.ndarray]:
    """Images `[examples, 32, 32, 3]` and labels, as many examples as the steps of a round need."""
    generator = np.random.default_rng(1)
    count = BATCH * STEPS
    images = generator.uniform(size=(count, SIZE, SIZE, 3)).astype(np.float32)
    return images, generator.integers(0, CLASSES, count).astype(np.int32)


batches = functools.partial(split_batches, BATCH)
"""The examples in order, batch by batch."""
