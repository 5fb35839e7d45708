"""Flax NNX: blocks of its MultiHeadAttention, nnx.jit with nnx.cached_partial."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from benchmarks import vit_tiny as case
from benchmarks.nanogpt.flax_nnx import Block, load, train


class ViT(nnx.Module):
    def __init__(self, rngs):
        settings = {"causal": False, "bias": True, "epsilon": case.EPSILON, "rngs": rngs}
        window = (case.PATCH, case.PATCH)
        self.patches = nnx.Conv(3, case.FEATURES, window, strides=window, padding="VALID", rngs=rngs)
        self.class_token = nnx.Param(jnp.zeros((1, 1, case.FEATURES)))
        self.positions = nnx.Param(jnp.zeros((1, case.POSITIONS, case.FEATURES)))
        self.blocks = nnx.List([Block(case.FEATURES, case.HEADS, **settings) for _ in range(case.LAYERS)])
        self.norm = nnx.LayerNorm(case.FEATURES, epsilon=case.EPSILON, rngs=rngs)
        self.fc = nnx.Linear(case.FEATURES, case.CLASSES, rngs=rngs)

    def __call__(self, images):
        x = self.patches(images).reshape(len(images), -1, case.FEATURES)
        tokens = jnp.broadcast_to(self.class_token[...], (len(x), 1, case.FEATURES))
        x = jnp.concatenate([tokens, x], axis=1) + self.positions[...]
        for block in self.blocks:
            x = block(x)
        return self.fc(self.norm(x[:, 0]))


def prepare(weights, images, labels):
    model = ViT(nnx.Rngs(0))
    load(model, weights)
    return train(model, optax.adam(1e-3), jax.device_put(case.batches(images, labels)))
