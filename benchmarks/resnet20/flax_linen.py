"""Flax Linen: its TrainState with the running statistics, jax.jit with donated state."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training import train_state
from flax.traverse_util import unflatten_dict

from benchmarks import resnet20 as case
from benchmarks.loops import one_by_one
from benchmarks.peer import cycle


class ConvNorm(nn.Module):
    channels: int
    stride: int = 1

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(self.channels, (3, 3), self.stride, padding=1, use_bias=False, name="conv")(x)
        return nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x)


class Block(nn.Module):
    channels: int
    stride: int

    @nn.compact
    def __call__(self, x, train):
        y = nn.relu(ConvNorm(self.channels, self.stride, name="conv1")(x, train))
        y = ConvNorm(self.channels, name="conv2")(y, train)
        missing = (self.channels - x.shape[-1]) // 2
        shortcut = jnp.pad(x[:, :: self.stride, :: self.stride], [(0, 0)] * 3 + [(missing, missing)])
        return nn.relu(y + shortcut)


class ResNet(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(ConvNorm(case.WIDTH, name="stem")(x, train))
        for i, (channels, stride) in enumerate(case.BLOCKS):
            x = Block(channels, stride, name=f"blocks_{i}")(x, train)
        return nn.Dense(10, name="fc")(x.mean((1, 2)))


class TrainState(train_state.TrainState):
    batch_stats: Any


@functools.partial(jax.jit, donate_argnums=0)
def train_step(state, images, labels):
    def loss_fn(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, updates = state.apply_fn(variables, images, train=True, mutable=["batch_stats"])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), updates

    (loss, updates), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    return state.apply_gradients(grads=grads, batch_stats=updates["batch_stats"]), loss


def train(case, model, weights, images, labels):
    """The program after the network."""
    arrays = {path.replace("blocks/", "blocks_"): jnp.asarray(array) for path, array in weights.items()}
    params = unflatten_dict(arrays, sep="/")
    batches = jax.device_put(case.batches(images, labels))
    stats = model.init(jax.random.key(0), batches[0][0], train=False)["batch_stats"]
    optimizer = optax.sgd(case.RATE, case.MOMENTUM)
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optimizer, batch_stats=stats)
    advance = cycle(batches)
    return one_by_one(train_step, state, advance)


def prepare(weights, images, labels):
    return train(case, ResNet(), weights, images, labels)
