"""Equinox, steps in one lax.scan, which carries the arrays of model and optimizer (eqx.partition)."""

import equinox as eqx

from benchmarks.mnist_cnn.equinox_ import start, train_step
from benchmarks.mnist_cnn.in_scan import in_scan


def prepare(weights, images, labels):
    state, batches = start(weights, images, labels)
    arrays, static = eqx.partition(state, eqx.is_array)

    def step(arrays, batch):
        value, *state = train_step(batch, *eqx.combine(arrays, static))
        return eqx.filter(tuple(state), eqx.is_array), value

    return in_scan(arrays, batches, step)
