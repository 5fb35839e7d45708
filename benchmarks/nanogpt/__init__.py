"""nanoGPT's character model on CPU: 4 blocks, 4 heads, 128 features, context 64, batch 12, AdamW 0.001, clipping."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.nanogpt.blocks import random_blocks
from benchmarks.peer import random_weights

PEERS = ("jaxnets", "flax_nnx", "flax_linen", "equinox_", "haiku_", "keras_", "pytorch", "pytorch_compile")
STEPS = 40
BATCH, CONTEXT, VOCABULARY = 12, 64, 65
LAYERS, HEADS, FEATURES = 4, 4, 128
RATE, BETAS, DECAY, CLIP = 1e-3, (0.9, 0.99), 0.1, 1.0


def weights() -> dict[str, Any]:
    """Two tables, a list of blocks, and the last norm; no biases; the table of tokens is also the last layer's."""
    tables = random_weights({"tokens": (VOCABULARY, FEATURES), "positions": (CONTEXT, FEATURES), "norm": (FEATURES,)})
    return {
        "tokens": {"embedding": tables["tokens"]},
        "positions": {"embedding": tables["positions"]},
        "blocks": random_blocks(LAYERS, FEATURES, HEADS, bias=False),
        "norm": {"scale": tables["norm"]},
    }


def data() -> tuple[np.ndarray]:
    """Tokens `[examples, 65]`, as many examples as the steps of a round need."""
    generator = np.random.default_rng(1)
    return (generator.integers(0, VOCABULARY, (BATCH * STEPS, CONTEXT + 1)).astype(np.int32),)


def batches(ids: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The examples in order, in batches of twelve: inputs, and the next tokens."""
    parts = range(0, len(ids), BATCH)
    return [(ids[i : i + BATCH, :-1].copy(), ids[i : i + BATCH, 1:].copy()) for i in parts]
