"""Equinox: patches by a linear layer, blocks of its MultiheadAttention, jax.vmap, eqx.filter_jit with donation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from benchmarks import vit_tiny as case
from benchmarks.nanogpt.equinox_ import KEY, Block, load, train


class ViT(eqx.Module):
    patches: eqx.nn.Linear
    class_token: jax.Array
    positions: jax.Array
    blocks: list[Block]
    norm: eqx.nn.LayerNorm
    fc: eqx.nn.Linear

    def __init__(self):
        self.patches = eqx.nn.Linear(case.PATCH * case.PATCH * 3, case.FEATURES, key=KEY)
        self.class_token = jnp.zeros((1, case.FEATURES))
        self.positions = jnp.zeros((case.POSITIONS, case.FEATURES))
        settings = {"bias": True, "epsilon": case.EPSILON}
        self.blocks = [Block(case.FEATURES, case.HEADS, **settings) for _ in range(case.LAYERS)]
        self.norm = eqx.nn.LayerNorm(case.FEATURES, case.EPSILON)
        self.fc = eqx.nn.Linear(case.FEATURES, case.CLASSES, key=KEY)

    def __call__(self, image):
        side = case.SIZE // case.PATCH
        x = image.reshape(side, case.PATCH, side, case.PATCH, 3).swapaxes(1, 2).reshape(side * side, -1)
        x = jnp.concatenate([self.class_token, jax.vmap(self.patches)(x)]) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.fc(self.norm(x[0]))


def prepare(weights, images, labels):
    return train(load(ViT(), weights), optax.adam(1e-3), jax.device_put(case.batches(images, labels)))
