"""nanoGPT's optimizer in optax, for the peers that use JAX."""

import jax
import optax

from benchmarks import nanogpt as case


def matrices(params):
    return jax.tree.map(lambda array: array.ndim >= 2, params)


def clipped_adamw(decayed=matrices):
    adamw = optax.adamw(case.RATE, *case.BETAS, weight_decay=case.DECAY, mask=decayed)
    return optax.chain(optax.clip_by_global_norm(case.CLIP), adamw)
