"""Flax Linen: its GroupNorm and MultiHeadDotProductAttention, its TrainState, jax.jit with donated state."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from flax.traverse_util import unflatten_dict

from benchmarks import diffusion_unet as case
from benchmarks.loops import one_by_one
from benchmarks.peer import cycle, numbered_paths


def normalize(x, name):
    return nn.GroupNorm(case.GROUPS, epsilon=1e-5, name=name)(x)


class Residual(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x, condition):
        h = nn.Conv(self.channels, (3, 3), name="conv1")(nn.silu(normalize(x, "norm1")))
        h = h + nn.Dense(self.channels, name="shift")(nn.silu(condition))[:, None, None]
        h = nn.Conv(self.channels, (3, 3), name="conv2")(nn.silu(normalize(h, "norm2")))
        return h + (x if x.shape == h.shape else nn.Conv(self.channels, (1, 1), name="shortcut")(x))


class Attend(nn.Module):
    @nn.compact
    def __call__(self, x):
        rows = normalize(x, "norm").reshape(len(x), -1, x.shape[-1])
        return x + nn.MultiHeadDotProductAttention(1, name="attention")(rows).reshape(x.shape)


class Middle(nn.Module):
    @nn.compact
    def __call__(self, x, condition):
        x = Attend(name="attention")(Residual(x.shape[-1], name="residual1")(x, condition))
        return Residual(x.shape[-1], name="residual2")(x, condition)


class Block(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x, condition):
        return Residual(self.channels, name="residual")(x, condition)


class Down(nn.Module):
    channels: int
    resized: bool

    @nn.compact
    def __call__(self, x, condition):
        kept = [Block(self.channels, name="blocks_0")(x, condition)]
        if self.resized:
            kept.append(nn.Conv(self.channels, (3, 3), 2, padding=1, name="resize")(kept[0]))
        return kept


class Up(nn.Module):
    channels: int
    resized: bool

    @nn.compact
    def __call__(self, x, skips, condition):
        for i, skip in enumerate(skips):
            x = Block(self.channels, name=f"blocks_{i}")(jnp.concatenate([x, skip], axis=-1), condition)
        if self.resized:
            x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
            x = nn.Conv(self.channels, (3, 3), name="resize")(x)
        return x


class UNet(nn.Module):
    @nn.compact
    def __call__(self, x, t, classes):
        half, wide = case.FEATURES // 2, 4 * case.FEATURES
        angles = t[:, None] * np.exp(-np.log(1e4) * np.arange(half) / half).astype(np.float32)
        waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
        condition = nn.Dense(wide, name="time2")(nn.silu(nn.Dense(wide, name="time1")(waves)))
        condition = condition + nn.Embed(case.CLASSES + 1, wide, name="classes")(classes)
        kept = [nn.Conv(case.FEATURES, (3, 3), name="first")(x)]
        kept += Down(case.FEATURES, True, name="down_0")(kept[-1], condition)
        kept += Down(2 * case.FEATURES, False, name="down_1")(kept[-1], condition)
        x = Middle(name="middle")(kept[-1], condition)
        x = Up(2 * case.FEATURES, True, name="up_0")(x, kept[:1:-1], condition)
        x = Up(case.FEATURES, False, name="up_1")(x, kept[1::-1], condition)
        return nn.Conv(case.CHANNELS, (3, 3), name="last")(nn.silu(normalize(x, "norm")))


@functools.partial(jax.jit, donate_argnums=0)
def train_step(state, x, noise, t, classes):
    left = jnp.asarray(case.shares())[t][:, None, None, None]
    signal, rest = jnp.sqrt(left), jnp.sqrt(1 - left)

    def loss_fn(params):
        predicted = state.apply_fn({"params": params}, signal * x + rest * noise, t, classes)
        return jnp.mean((predicted - (signal * noise - rest * x)) ** 2)

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss


def prepare(weights, *data):
    params = unflatten_dict({path: jnp.asarray(array) for path, array in numbered_paths(weights).items()}, sep="/")
    optimizer = optax.chain(optax.clip_by_global_norm(case.CLIP), optax.adam(case.RATE))
    state = TrainState.create(apply_fn=UNet().apply, params=params, tx=optimizer)
    advance = cycle(jax.device_put(case.batches(*data)))
    return one_by_one(train_step, state, advance)
