"""Haiku: blocks of its MultiHeadAttention, hk.transform, jax.jit with donation."""

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from benchmarks import vit_tiny as case
from benchmarks.nanogpt.haiku_ import Block, train


def vit(images):
    x = hk.Conv2D(case.FEATURES, case.PATCH, case.PATCH, padding="VALID", name="patches")(images)
    x = x.reshape(len(x), -1, case.FEATURES)
    token = hk.get_parameter("class_token", (1, 1, case.FEATURES), init=jnp.zeros)
    positions = hk.get_parameter("positions", (1, case.POSITIONS, case.FEATURES), init=jnp.zeros)
    x = jnp.concatenate([jnp.tile(token, (len(x), 1, 1)), x], axis=1) + positions
    for i in range(case.LAYERS):
        x = Block(case.HEADS, bias=True, epsilon=case.EPSILON, name=f"blocks_{i}")(x)
    x = hk.LayerNorm(-1, True, True, eps=case.EPSILON, name="norm")(x[:, 0])
    return hk.Linear(case.CLASSES, name="fc")(x)


def prepare(weights, images, labels):
    return train(vit, weights, optax.adam(1e-3), jax.device_put(case.batches(images, labels)))
