"""CLIP: 3 blocks of 96 features for images and texts each; batch 200 of 64 x 48 x 3 and 16 tokens, AdamW 0.001.

Sizes of `experiments/products_clip.py`: two convolutions before the patches, 1,404 words, gradients clipped, the scale
at most 100; no dropout, and images are not mirrored.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.nanogpt.blocks import nested, random_blocks
from benchmarks.peer import random_weights, scales_near_one, split_batches

PEERS = ("jaxnets", "flax_linen", "pytorch", "pytorch_compile")
STEPS = 2
BATCHES = 2
BATCH, SIZE, CONTEXT = 200, (64, 48), 16
STEM, PATCH = (32, 64), 2
VOCABULARY, END = 1_404, 2
LAYERS, HEADS, FEATURES = 3, 3, 96
RATE, DECAY, CLIP = 1e-3, 0.1, 1.0
LARGEST_SCALE = 100.0


def weights() -> dict[str, Any]:
    """The same as in the library's model, except that blocks and stem are lists."""
    halved = PATCH * 2 ** len(STEM)
    wide, positions = (FEATURES,), math.prod(SIZE) // halved**2 + 1
    shapes: dict[str, tuple[int, ...]] = {
        "image/patches/kernel": (PATCH, PATCH, STEM[-1], FEATURES),
        "image/class_token": wide,
        "image/positions/embedding": (positions, FEATURES),
        "text/tokens/embedding": (VOCABULARY, FEATURES),
        "text/positions/embedding": (CONTEXT, FEATURES),
    }
    for norm in ("image/norm_first", "image/norm", "text/norm"):
        shapes |= {f"{norm}/scale": wide, f"{norm}/bias": wide}
    shapes |= {f"{half}/projection/kernel": (FEATURES, FEATURES) for half in ("image", "text")}
    arrays = nested(scales_near_one(random_weights(shapes)))
    arrays["text"]["tokens"]["embedding"] *= math.sqrt(VOCABULARY)  # so that texts differ by more than positions
    arrays["image"]["stem"] = [_unit(*channels) for channels in zip((3, *STEM[:-1]), STEM, strict=True)]
    for half in ("image", "text"):
        arrays[half]["blocks"] = random_blocks(LAYERS, FEATURES, HEADS, bias=True)
    return arrays | {"log_scale": np.log(np.float32(50))}  # large, because all vectors are much alike at first


def _unit(before: int, after: int) -> dict[str, Any]:
    shapes = {"conv/kernel": (3, 3, before, after), "norm/scale": (after,), "norm/bias": (after,)}
    return nested(scales_near_one(random_weights(shapes)))


def data() -> tuple[np.ndarray, np.ndarray]:
    """Images `[examples, 64, 48, 3]` of a color each; ids `[examples, 16]` of 3 to 15 words, the end, and padding."""
    generator, count = np.random.default_rng(1), BATCH * BATCHES
    colors = generator.normal(size=(count, 1, 1, 3))
    images = (colors + generator.normal(size=(count, *SIZE, 3))).astype(np.float32)
    ids = generator.integers(END + 1, VOCABULARY, (count, CONTEXT)).astype(np.int32)
    lengths, places = generator.integers(3, CONTEXT, (count, 1)), np.arange(CONTEXT)
    ids[places == lengths], ids[places > lengths] = END, 0
    return images, ids


def batches(images: np.ndarray, ids: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """The examples in order, batch by batch."""
    return split_batches(BATCH, images, ids)
