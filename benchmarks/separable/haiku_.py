"""Haiku: hk.DepthwiseConv2D, hk.transform_with_state, jax.jit with donated state."""

import haiku as hk
import jax

from benchmarks import separable as case
from benchmarks.resnet20.haiku_ import train


class Block(hk.Module):
    def __init__(self, channels, stride, *, name):
        super().__init__(name)
        self.channels, self.stride = channels, stride

    def __call__(self, x, train):
        norm1, norm2 = (hk.BatchNorm(True, True, decay_rate=0.9, name=name) for name in ("norm1", "norm2"))
        settings = {"padding": [(1, 1)] * 2, "with_bias": False, "name": "depthwise"}
        x = hk.DepthwiseConv2D(1, 3, self.stride, **settings)(x)
        x = hk.Conv2D(self.channels, 1, with_bias=False, name="pointwise")(jax.nn.relu(norm1(x, train)))
        return jax.nn.relu(norm2(x, train))


def forward(x, train):
    x = hk.Conv2D(case.WIDTH, 3, padding=[(1, 1)] * 2, name="stem")(x)
    for i, (channels, stride) in enumerate(case.BLOCKS):
        x = Block(channels, stride, name=f"blocks_{i}")(x, train)
    return hk.Linear(10, name="fc")(x.mean((1, 2)))


def prepare(weights, images, labels):
    return train(case, forward, weights, images, labels)
