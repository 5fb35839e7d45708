"""GPT-2 124M on sequences of 1,024 tokens in bfloat16, batch 16, AdamW."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.gpu import SMALL

PEERS = ("jaxnets", "pytorch_compile")
STEPS = 2 if SMALL else 20
BATCH, CONTEXT, VOCABULARY = (2, 16, 99) if SMALL else (16, 1024, 50_257)
SIZES = {"layers": 2, "heads": 2, "features": 16} if SMALL else {"layers": 12, "heads": 12, "features": 768}
RATE, BETAS, DECAY = 6e-4, (0.9, 0.95), 0.1
TOLERANCES = {"the loss": 0.02, "its change by a step": 0.5}
"""They are computed in bfloat16 and in another order. A wrong sign or rate would show in the change."""


def weights() -> Any:
    """Parameters of jaxnets; PyTorch's are made of them."""
    import jax

    from jaxnets import models

    return jax.device_get(models.gpt(models.GPTConfig(VOCABULARY, CONTEXT, **SIZES)).init(jax.random.key(0))[0])


def data() -> tuple[np.ndarray]:
    """Tokens `[batch, context + 1]`."""
    return (np.random.default_rng(1).integers(0, VOCABULARY, (BATCH, CONTEXT + 1)).astype(np.int32),)


def flops() -> float:
    """Per step: the forward pass, and twice as many backward."""
    import jax
    import jax.numpy as jnp

    from jaxnets import count_flops, models

    model = models.gpt(models.GPTConfig(VOCABULARY, CONTEXT, **SIZES))
    params, state = jax.eval_shape(model.init, jax.random.key(0))
    ids = jax.ShapeDtypeStruct((BATCH, CONTEXT), jnp.int32)
    return 3.0 * count_flops(lambda p, ids: model.apply(p, state, ids, train=False)[0], params, ids)
