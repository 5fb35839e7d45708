"""A perceptron on Pima's table: 8-12-8-1, batch 10 in file order, Adam 0.001, 100 epochs of 77 steps.

The examples are random numbers of the same shape; speed does not depend on them.
"""

from __future__ import annotations

import numpy as np

from benchmarks import tiny_mlp

PEERS = (
    "jaxnets",
    "jaxnets_flatten",
    "plain_jax",
    "flax_nnx",
    "flax_linen",
    "equinox_",
    "haiku_",
    "keras_",
    "pytorch",
    "pytorch_fused",
    "pytorch_compile",
)
EPOCHS, BATCH, EXAMPLES = 100, 10, 768
STEPS = EPOCHS * -(-EXAMPLES // BATCH)
ONE_STEP = {"EPOCHS": 1, "EXAMPLES": BATCH}
"""Settings for the comparison of the losses after one step."""

weights = tiny_mlp.weights


def data() -> tuple[np.ndarray, np.ndarray]:
    """Features `[examples, 8]` and labels 0.0 or 1.0 `[examples]`."""
    generator = np.random.default_rng(1)
    x = generator.normal(size=(EXAMPLES, 8)).astype(np.float32)
    return x, generator.integers(0, 2, EXAMPLES).astype(np.float32)
