"""Translation by the Transformer "Tiny", 4 + 4 blocks, 128 features: batch 64, 16 tokens, Adam 0.001, clipping.

Both languages share 4,000 subwords and their embeddings, which are also the last layer; the sources are 10 to 16 tokens
long, and nothing attends to their padding; no dropout.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks import seq2seq
from benchmarks.nanogpt.blocks import block_shapes, nested
from benchmarks.peer import random_weights
from jaxnets.models.transformer import sinusoids

PEERS = ("jaxnets", "flax_linen", "pytorch")
STEPS = 8
BATCHES = 8
BATCH, TIME, VOCABULARY = seq2seq.BATCH, seq2seq.TIME, 4_000
LAYERS, HEADS, FEATURES, HIDDEN = 4, 4, 128, 256
RATE, CLIP = 1e-3, 1.0
POSITIONS = sinusoids(TIME, FEATURES)


def weights() -> dict[str, Any]:
    """The same as in the library's model, except that the blocks are lists."""
    norm = {"scale": (FEATURES,), "bias": (FEATURES,)}
    shapes: dict[str, tuple[int, ...]] = {"target/embedding": (VOCABULARY, FEATURES), "bias": (VOCABULARY,)}
    shapes |= {f"{stack}_norm/{name}": shape for stack in ("encoder", "decoder") for name, shape in norm.items()}
    encoder = block_shapes(FEATURES, HEADS, bias=True, hidden_size=HIDDEN)
    attention = {path: shape for path, shape in encoder.items() if path.startswith("attention")}
    decoder = encoder | {f"memory_{path}": shape for path, shape in attention.items()}
    decoder |= {f"norm_memory/{name}": shape for name, shape in norm.items()}
    blocks = {
        stack: [nested(random_weights(of_block, seed=first + layer)) for layer in range(LAYERS)]
        for stack, of_block, first in (("encoder", encoder, 1), ("decoder", decoder, 10))
    }
    return nested(random_weights(shapes)) | blocks


def data() -> tuple[np.ndarray, np.ndarray]:
    """Ids of sources `[examples, time]`, padded with 0, and of targets `[examples, time + 1]`."""
    generator, count = np.random.default_rng(1), BATCH * BATCHES
    source = generator.integers(1, VOCABULARY, (count, TIME)).astype(np.int32)
    lengths = generator.integers(10, TIME + 1, count)
    source[np.arange(TIME) >= lengths[:, None]] = 0
    return source, generator.integers(1, VOCABULARY, (count, TIME + 1)).astype(np.int32)


batches = seq2seq.batches
"""The examples in order: sources, targets that are read, and those that are to follow."""
