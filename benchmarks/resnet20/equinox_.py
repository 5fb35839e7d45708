"""Equinox: jax.vmap of the network for one image, batch norm in mode "batch", eqx.filter_jit with donation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from benchmarks import resnet20 as case
from benchmarks.peer import Peer, cycle, outputs_first

KEY = jax.random.key(0)


class ConvNorm(eqx.Module):
    conv: eqx.nn.Conv2d
    norm: eqx.nn.BatchNorm

    def __init__(self, before, after, stride=1):
        self.conv = eqx.nn.Conv2d(before, after, 3, stride, padding=1, use_bias=False, key=KEY)
        self.norm = eqx.nn.BatchNorm(after, axis_name="batch", momentum=0.9, mode="batch")

    def __call__(self, x, state):
        return self.norm(self.conv(x), state)


class Block(eqx.Module):
    conv1: ConvNorm
    conv2: ConvNorm
    stride: int = eqx.field(static=True)
    missing: int = eqx.field(static=True)

    def __init__(self, before, after, stride):
        self.conv1, self.conv2 = ConvNorm(before, after, stride), ConvNorm(after, after)
        self.stride, self.missing = stride, (after - before) // 2

    def __call__(self, x, state):
        y, state = self.conv1(x, state)
        y, state = self.conv2(jax.nn.relu(y), state)
        shortcut = jnp.pad(x[:, :: self.stride, :: self.stride], [(self.missing, self.missing), (0, 0), (0, 0)])
        return jax.nn.relu(y + shortcut), state


class ResNet(eqx.Module):
    stem: ConvNorm
    blocks: list[Block]
    fc: eqx.nn.Linear

    def __init__(self):
        self.stem, self.blocks, before = ConvNorm(3, case.WIDTH), [], case.WIDTH
        for after, stride in case.BLOCKS:
            self.blocks.append(Block(before, after, stride))
            before = after
        self.fc = eqx.nn.Linear(before, 10, key=KEY)

    def __call__(self, x, state):
        x, state = self.stem(x, state)
        x = jax.nn.relu(x)
        for block in self.blocks:
            x, state = block(x, state)
        return self.fc(x.mean((1, 2))), state


def load(model, weights):
    arrays = {path.replace("kernel", "weight").replace("scale", "weight"): array for path, array in weights.items()}

    def leaf(path, old):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        return jnp.asarray(arrays[name]).reshape(old.shape) if name in arrays else old

    return jax.tree_util.tree_map_with_path(leaf, model)


def loss_fn(model, state, images, labels):
    logits, state = jax.vmap(model, in_axes=(0, None), out_axes=(0, None), axis_name="batch")(images, state)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), state


def train(case, make_network, weights, images, labels):
    """The program after the network."""
    optimizer = optax.sgd(case.RATE, case.MOMENTUM)

    @eqx.filter_jit(donate="all-except-first")
    def train_step(batch, model, state, opt_state):
        (loss, state), grads = eqx.filter_value_and_grad(loss_fn, has_aux=True)(model, state, *batch)
        updates, opt_state = optimizer.update(grads, opt_state, eqx.filter(model, eqx.is_array))
        return loss, eqx.apply_updates(model, updates), state, opt_state

    model, state = eqx.nn.make_with_state(make_network)()
    model = load(model, outputs_first(weights))
    batches = jax.device_put(case.batches(images.transpose(0, 3, 1, 2), labels))
    states = model, state, optimizer.init(eqx.filter(model, eqx.is_array))
    advance = cycle(batches)

    def run(steps):
        nonlocal states
        for _ in range(steps):
            value, *states = train_step(advance(), *states)
        return float(value)

    return Peer(run)


def prepare(weights, images, labels):
    return train(case, ResNet, weights, images, labels)
