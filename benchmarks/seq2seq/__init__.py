"""Translation by GRUs with additive attention: batch 64, 16 words read and written, 128 units, Adam 0.001, clipping.

Sizes of `experiments/translate_rnn.py`: 3,500 words read by a bidirectional layer, 3,300 that are written; no dropout
and no padding.
"""

from __future__ import annotations

import numpy as np

from benchmarks.peer import random_weights

PEERS = ("jaxnets", "flax_linen", "pytorch")
STEPS = 8
BATCHES = 8
BATCH, TIME, EMBEDDING, HIDDEN = 64, 16, 128, 128
SOURCE, TARGET = 3_500, 3_300
RATE, CLIP = 1e-3, 1.0


def weights() -> dict[str, np.ndarray]:
    """The arrays of the library's model, by path; gates are in the order reset, update, candidate."""
    memory = 2 * HIDDEN
    shapes: dict[str, tuple[int, ...]] = {
        "source/embedding": (SOURCE, EMBEDDING),
        "target/embedding": (TARGET, EMBEDDING),
        "begin/hidden/kernel": (memory, HIDDEN),
        "begin/hidden/bias": (HIDDEN,),
        "attention/query/kernel": (HIDDEN, HIDDEN),
        "attention/query/bias": (HIDDEN,),
        "attention/memory/kernel": (memory, HIDDEN),
        "attention/score": (HIDDEN,),
        "out/kernel": (HIDDEN + memory + EMBEDDING, TARGET),
        "out/bias": (TARGET,),
    }
    inputs = {"encoder/forward": EMBEDDING, "encoder/backward": EMBEDDING, "decoder": EMBEDDING + memory}
    for path, size in inputs.items():
        shapes |= {
            f"{path}/input_kernel": (size, 3 * HIDDEN),
            f"{path}/hidden_kernel": (HIDDEN, 3 * HIDDEN),
            f"{path}/bias": (3 * HIDDEN,),
            f"{path}/hidden_bias": (HIDDEN,),
        }
    return random_weights(shapes)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Ids of sources `[examples, time]` and of targets `[examples, time + 1]`, 0 for padding being none of them."""
    generator, count = np.random.default_rng(1), BATCH * BATCHES
    source = generator.integers(1, SOURCE, (count, TIME)).astype(np.int32)
    return source, generator.integers(1, TARGET, (count, TIME + 1)).astype(np.int32)


def batches(source: np.ndarray, target: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The examples in order: sources, targets that are read, and those that are to follow."""
    rows = [slice(i, i + BATCH) for i in range(0, len(source), BATCH)]
    return [(source[i], target[i, :-1].copy(), target[i, 1:].copy()) for i in rows]
