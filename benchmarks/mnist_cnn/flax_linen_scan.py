"""Flax Linen, steps in one lax.scan, which carries its TrainState."""

import jax

from benchmarks.mnist_cnn.flax_linen import start, train_step
from benchmarks.mnist_cnn.in_scan import in_scan


def prepare(weights, images, labels):
    key = jax.random.key(0)
    return in_scan(*start(weights, images, labels), lambda state, batch: train_step(state, *batch, key))
