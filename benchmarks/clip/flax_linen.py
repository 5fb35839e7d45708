"""Flax Linen: blocks of its MultiHeadDotProductAttention, its TrainState, jax.jit with donated state."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

from benchmarks import clip as case
from benchmarks.loops import one_by_one
from benchmarks.nanogpt.blocks import numbered
from benchmarks.peer import cycle
from benchmarks.segmentation_unet.flax_linen import decayed


def quick_gelu(x):
    return x * nn.sigmoid(1.702 * x)


def normalize(x, name):
    return nn.LayerNorm(1e-5, name=name)(x)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, mask=None):
        attention = nn.MultiHeadDotProductAttention(case.HEADS, name="attention")
        x = x + attention(normalize(x, "norm1"), mask=mask)
        y = nn.Dense(4 * case.FEATURES, name="linear1")(normalize(x, "norm2"))
        return x + nn.Dense(case.FEATURES, name="linear2")(quick_gelu(y))


class Unit(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x):
        x = nn.Conv(self.channels, (3, 3), 2, use_bias=False, name="conv")(x)
        return quick_gelu(normalize(x, "norm"))


def project(x):
    y = nn.Dense(case.FEATURES, use_bias=False, name="projection")(normalize(x, "norm"))
    return y / jnp.linalg.norm(y, axis=-1, keepdims=True)


class ImageNetwork(nn.Module):
    @nn.compact
    def __call__(self, x):
        for i, channels in enumerate(case.STEM):
            x = Unit(channels, name=f"stem_{i}")(x)
        window, normal = (case.PATCH, case.PATCH), nn.initializers.normal()
        x = nn.Conv(case.FEATURES, window, window, padding="VALID", use_bias=False, name="patches")(x)
        x = x.reshape(len(x), -1, case.FEATURES)
        token = self.param("class_token", normal, (case.FEATURES,))
        x = jnp.concatenate([jnp.tile(token, (len(x), 1, 1)), x], axis=1)
        x = x + nn.Embed(x.shape[1], case.FEATURES, name="positions")(jnp.arange(x.shape[1]))
        x = normalize(x, "norm_first")
        for i in range(case.LAYERS):
            x = Block(name=f"blocks_{i}")(x)
        return project(x[:, 0])


class TextNetwork(nn.Module):
    @nn.compact
    def __call__(self, ids):
        x = nn.Embed(case.VOCABULARY, case.FEATURES, name="tokens")(ids)
        x = x + nn.Embed(case.CONTEXT, case.FEATURES, name="positions")(jnp.arange(case.CONTEXT))
        mask = nn.make_causal_mask(ids)
        for i in range(case.LAYERS):
            x = Block(name=f"blocks_{i}")(x, mask)
        return project(x[jnp.arange(len(x)), jnp.argmax(ids == case.END, axis=1)])


class CLIP(nn.Module):
    @nn.compact
    def __call__(self, images, ids):
        log_scale = self.param("log_scale", nn.initializers.zeros, ())
        scale = jnp.exp(jnp.minimum(log_scale, jnp.log(case.LARGEST_SCALE)))
        return scale * ImageNetwork(name="image")(images) @ TextNetwork(name="text")(ids).T


@functools.partial(jax.jit, donate_argnums=0)
def train_step(state, images, ids):
    def loss_fn(params):
        cosines = state.apply_fn({"params": params}, images, ids)
        pairs = jnp.arange(len(ids))
        values = [optax.softmax_cross_entropy_with_integer_labels(x, pairs).mean() for x in (cosines, cosines.T)]
        return sum(values) / 2

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss


def prepare(weights, images, ids):
    image = numbered(weights["image"])
    image |= {f"stem_{i}": unit for i, unit in enumerate(image.pop("stem"))}
    params = jax.tree.map(jnp.asarray, weights | {"image": image, "text": numbered(weights["text"])})
    adamw = optax.adamw(case.RATE, weight_decay=case.DECAY, mask=decayed)
    optimizer = optax.chain(optax.clip_by_global_norm(case.CLIP), adamw)
    state = TrainState.create(apply_fn=CLIP().apply, params=params, tx=optimizer)
    advance = cycle(jax.device_put(case.batches(images, ids)))
    return one_by_one(train_step, state, advance)
