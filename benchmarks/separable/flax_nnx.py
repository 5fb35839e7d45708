"""Flax NNX: nnx.jit with nnx.cached_partial."""

from flax import nnx

from benchmarks import separable as case
from benchmarks.resnet20.flax_nnx import train


class Block(nnx.Module):
    def __init__(self, before, after, stride, *, rngs):
        self.depthwise = nnx.Conv(
            before, before, (3, 3), stride, padding=1, feature_group_count=before, use_bias=False, rngs=rngs
        )
        self.norm1 = nnx.BatchNorm(before, momentum=0.9, rngs=rngs)
        self.pointwise = nnx.Conv(before, after, (1, 1), use_bias=False, rngs=rngs)
        self.norm2 = nnx.BatchNorm(after, momentum=0.9, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm1(self.depthwise(x)))
        return nnx.relu(self.norm2(self.pointwise(x)))


class Net(nnx.Module):
    def __init__(self, *, rngs):
        self.stem = nnx.Conv(3, case.WIDTH, (3, 3), padding=1, rngs=rngs)
        self.blocks, before = nnx.List(), case.WIDTH
        for after, stride in case.BLOCKS:
            self.blocks.append(Block(before, after, stride, rngs=rngs))
            before = after
        self.fc = nnx.Linear(before, 10, rngs=rngs)

    def __call__(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.fc(x.mean((1, 2)))


def prepare(weights, images, labels):
    return train(case, Net(rngs=nnx.Rngs(0)), weights, images, labels)
