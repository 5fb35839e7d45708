"""Haiku, steps in one lax.scan."""

from benchmarks.mnist_cnn.haiku_ import start, train_step
from benchmarks.mnist_cnn.in_scan import in_scan


def prepare(weights, images, labels):
    def step(state, batch):
        value, *state = train_step(*state, *batch)
        return tuple(state), value

    return in_scan(*start(weights, images, labels), step)
