"""Flax Linen: its TrainState with the running statistics, jax.jit with donated state."""

import functools

from flax import linen as nn

from benchmarks import separable as case
from benchmarks.resnet20.flax_linen import train


class Block(nn.Module):
    channels: int
    stride: int

    @nn.compact
    def __call__(self, x, train):
        norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        depthwise = nn.Conv(
            x.shape[-1],
            (3, 3),
            self.stride,
            padding=1,
            feature_group_count=x.shape[-1],
            use_bias=False,
            name="depthwise",
        )
        x = nn.relu(norm(name="norm1")(depthwise(x)))
        x = nn.Conv(self.channels, (1, 1), use_bias=False, name="pointwise")(x)
        return nn.relu(norm(name="norm2")(x))


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(case.WIDTH, (3, 3), padding=1, name="stem")(x)
        for i, (channels, stride) in enumerate(case.BLOCKS):
            x = Block(channels, stride, name=f"blocks_{i}")(x, train)
        return nn.Dense(10, name="fc")(x.mean((1, 2)))


def prepare(weights, images, labels):
    return train(case, Net(), weights, images, labels)
