"""Flax Linen: blocks of its MultiHeadDotProductAttention, its TrainState, jax.jit with donation."""

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from benchmarks import vit_tiny as case
from benchmarks.nanogpt.flax_linen import Block, train


class ViT(nn.Module):
    @nn.compact
    def __call__(self, images):
        window, zeros = (case.PATCH, case.PATCH), nn.initializers.zeros
        x = nn.Conv(case.FEATURES, window, strides=window, padding="VALID", name="patches")(images)
        x = x.reshape(len(x), -1, case.FEATURES)
        token = self.param("class_token", zeros, (1, 1, case.FEATURES))
        positions = self.param("positions", zeros, (1, case.POSITIONS, case.FEATURES))
        x = jnp.concatenate([jnp.tile(token, (len(x), 1, 1)), x], axis=1) + positions
        for i in range(case.LAYERS):
            x = Block(case.HEADS, True, case.EPSILON, name=f"blocks_{i}")(x)
        return nn.Dense(case.CLASSES, name="fc")(nn.LayerNorm(case.EPSILON, name="norm")(x[:, 0]))


def prepare(weights, images, labels):
    return train(ViT(), weights, optax.adam(1e-3), jax.device_put(case.batches(images, labels)))
