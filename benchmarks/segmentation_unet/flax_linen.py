"""Flax Linen: its TrainState with the running statistics, jax.jit with donated state."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.traverse_util import path_aware_map, unflatten_dict

from benchmarks import segmentation_unet as case
from benchmarks.loops import one_by_one
from benchmarks.peer import cycle, numbered_paths
from benchmarks.resnet20.flax_linen import TrainState


class Unit(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(self.channels, (3, 3), use_bias=False, name="conv")(x)
        return nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x))


class Pair(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x, train):
        return Unit(self.channels, name="unit2")(Unit(self.channels, name="unit1")(x, train), train)


class Up(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x, skip, train):
        x = nn.ConvTranspose(self.channels, (2, 2), (2, 2), transpose_kernel=True, name="enlarge")(x)
        return Pair(self.channels, name="pair")(jnp.concatenate([skip, x], axis=-1), train)


class UNet(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        skips = []
        for level in range(case.LEVELS + 1):
            if level:
                skips.append(x)
                x = nn.max_pool(x, (2, 2), (2, 2))
            x = Pair(case.WIDTH * 2**level, name=f"down_{level}")(x, train)
        for i in range(case.LEVELS):
            skip = skips.pop()
            x = Up(skip.shape[-1], name=f"up_{i}")(x, skip, train)
        return nn.Conv(case.CLASSES, (1, 1), name="out")(x)


def decayed(params):
    return path_aware_map(lambda path, _: path[-1] in ("kernel", "embedding"), params)


@functools.partial(jax.jit, donate_argnums=0)
def train_step(state, images, labels):
    def loss_fn(params):
        variables = {"params": params, "batch_stats": state.batch_stats}
        logits, updates = state.apply_fn(variables, images, train=True, mutable=["batch_stats"])
        weights = jnp.asarray(case.CLASS_WEIGHTS)[labels]
        known = jnp.minimum(labels, case.CLASSES - 1)
        values = optax.softmax_cross_entropy_with_integer_labels(logits, known)
        return jnp.sum(values * weights) / jnp.sum(weights), updates

    (loss, updates), grads = jax.value_and_grad(loss_fn, has_aux=True)(state.params)
    return state.apply_gradients(grads=grads, batch_stats=updates["batch_stats"]), loss


def prepare(weights, images, labels):
    model, batches = UNet(), jax.device_put(case.batches(images, labels))
    params = unflatten_dict({path: jnp.asarray(array) for path, array in numbered_paths(weights).items()}, sep="/")
    stats = model.init(jax.random.key(0), batches[0][0], train=False)["batch_stats"]
    optimizer = optax.adamw(case.RATE, weight_decay=case.DECAY, mask=decayed)
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optimizer, batch_stats=stats)
    advance = cycle(batches)
    return one_by_one(train_step, state, advance)
