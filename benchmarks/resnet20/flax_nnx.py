"""Flax NNX: nnx.jit with nnx.cached_partial."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from flax.traverse_util import unflatten_dict

from benchmarks import resnet20 as case
from benchmarks.peer import Peer, cycle


class ConvNorm(nnx.Module):
    def __init__(self, before, after, stride=1, *, rngs):
        self.conv = nnx.Conv(before, after, (3, 3), stride, padding=1, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(after, momentum=0.9, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.conv(x))


class Block(nnx.Module):
    def __init__(self, before, after, stride, *, rngs):
        self.conv1 = ConvNorm(before, after, stride, rngs=rngs)
        self.conv2 = ConvNorm(after, after, rngs=rngs)
        self.stride, self.missing = stride, (after - before) // 2

    def __call__(self, x):
        y = self.conv2(nnx.relu(self.conv1(x)))
        shortcut = jnp.pad(x[:, :: self.stride, :: self.stride], [(0, 0)] * 3 + [(self.missing, self.missing)])
        return nnx.relu(y + shortcut)


class ResNet(nnx.Module):
    def __init__(self, *, rngs):
        self.stem = ConvNorm(3, case.WIDTH, rngs=rngs)
        self.blocks, before = nnx.List(), case.WIDTH
        for after, stride in case.BLOCKS:
            self.blocks.append(Block(before, after, stride, rngs=rngs))
            before = after
        self.fc = nnx.Linear(before, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.stem(x))
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean((1, 2)))


def load(model, weights):
    paths = {tuple(int(k) if k.isdigit() else k for k in path.split("/")): path for path in weights}
    state = nnx.state(model, nnx.Param)
    nnx.replace_by_pure_dict(state, unflatten_dict({keys: jnp.asarray(weights[p]) for keys, p in paths.items()}))
    nnx.update(model, state)


def loss_fn(model, images, labels):
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


@nnx.jit
def train_step(model, optimizer, images, labels):
    loss, grads = nnx.value_and_grad(loss_fn)(model, images, labels)
    optimizer.update(model, grads)
    return loss


def train(case, model, weights, images, labels):
    """The program after the network."""
    load(model, weights)
    batches = jax.device_put(case.batches(images, labels))
    optimizer = nnx.Optimizer(model, optax.sgd(case.RATE, case.MOMENTUM), wrt=nnx.Param)
    step = nnx.cached_partial(train_step, model, optimizer)
    advance = cycle(batches)

    def run(steps):
        for _ in range(steps):
            value = step(*advance())
        return float(value)

    return Peer(run)


def prepare(weights, images, labels):
    return train(case, ResNet(rngs=nnx.Rngs(0)), weights, images, labels)
