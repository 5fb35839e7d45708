"""A U-Net for segmentation, batch norm, 24 channels, four levels below: batch 4 of 96 x 128 x 3, AdamW 0.003.

Sizes of `experiments/camvid_unet.py`: 11 classes of different weights, and pixels of none; nothing is augmented.
"""

from __future__ import annotations

import numpy as np

from benchmarks.peer import random_weights, scales_near_one, split_batches

PEERS = ("jaxnets", "flax_linen", "pytorch", "pytorch_channels_last", "pytorch_compile")
STEPS = 4
BATCHES = 4
BATCH, SIZE = 4, (96, 128)
WIDTH, LEVELS, CLASSES = 24, 4, 11
RATE, DECAY = 3e-3, 1e-2
CLASS_WEIGHTS = np.append(np.linspace(0.5, 2.0, CLASSES), 0.0).astype(np.float32)
"""The last one is of the label of pixels without a class."""


def weights() -> dict[str, np.ndarray]:
    """The arrays of the library's model, by path; kernels of transposed convolutions are `[2, 2, out, in]`."""
    widths = [WIDTH * 2**level for level in range(LEVELS + 1)]
    shapes: dict[str, tuple[int, ...]] = {"out/kernel": (1, 1, WIDTH, CLASSES), "out/bias": (CLASSES,)}
    for i, (before, after) in enumerate(zip((3, *widths[:-1]), widths, strict=True)):
        shapes |= _pair(f"down/{i}", before, after)
    for i, (below, here) in enumerate(zip(widths[:0:-1], widths[-2::-1], strict=True)):
        shapes |= {f"up/{i}/enlarge/kernel": (2, 2, here, below), f"up/{i}/enlarge/bias": (here,)}
        shapes |= _pair(f"up/{i}/pair", 2 * here, here)
    return scales_near_one(random_weights(shapes))


def _pair(path: str, before: int, after: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for unit, channels in (("unit1", before), ("unit2", after)):
        shapes |= {f"{path}/{unit}/conv/kernel": (3, 3, channels, after)}
        shapes |= {f"{path}/{unit}/norm/{part}": (after,) for part in ("scale", "bias")}
    return shapes


def data() -> tuple[np.ndarray, np.ndarray]:
    """Images `[examples, height, width, 3]` and labels `[examples, height, width]`, of which some are no class."""
    generator, count = np.random.default_rng(1), BATCH * BATCHES
    images = generator.normal(size=(count, *SIZE, 3)).astype(np.float32)
    return images, generator.integers(0, CLASSES + 1, (count, *SIZE)).astype(np.int32)


def batches(images: np.ndarray, labels: np.ndarray) -> list[tuple[np.ndarray, ...]]:
    """The examples in order, batch by batch."""
    return split_batches(BATCH, images, labels)
