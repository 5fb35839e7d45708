"""Equinox: jax.vmap of the network for one image, batch norm in mode "batch", eqx.filter_jit with donation."""

import equinox as eqx
import jax

from benchmarks import separable as case
from benchmarks.resnet20.equinox_ import KEY, train


def norm(channels):
    return eqx.nn.BatchNorm(channels, axis_name="batch", momentum=0.9, mode="batch")


class Block(eqx.Module):
    depthwise: eqx.nn.Conv2d
    norm1: eqx.nn.BatchNorm
    pointwise: eqx.nn.Conv2d
    norm2: eqx.nn.BatchNorm

    def __init__(self, before, after, stride):
        self.depthwise = eqx.nn.Conv2d(before, before, 3, stride, padding=1, groups=before, use_bias=False, key=KEY)
        self.pointwise = eqx.nn.Conv2d(before, after, 1, use_bias=False, key=KEY)
        self.norm1, self.norm2 = norm(before), norm(after)

    def __call__(self, x, state):
        x, state = self.norm1(self.depthwise(x), state)
        x, state = self.norm2(self.pointwise(jax.nn.relu(x)), state)
        return jax.nn.relu(x), state


class Net(eqx.Module):
    stem: eqx.nn.Conv2d
    blocks: list[Block]
    fc: eqx.nn.Linear

    def __init__(self):
        self.stem, self.blocks, before = eqx.nn.Conv2d(3, case.WIDTH, 3, padding=1, key=KEY), [], case.WIDTH
        for after, stride in case.BLOCKS:
            self.blocks.append(Block(before, after, stride))
            before = after
        self.fc = eqx.nn.Linear(before, 10, key=KEY)

    def __call__(self, x, state):
        x = self.stem(x)
        for block in self.blocks:
            x, state = block(x, state)
        return self.fc(x.mean((1, 2))), state


def prepare(weights, images, labels):
    return train(case, Net, weights, images, labels)
