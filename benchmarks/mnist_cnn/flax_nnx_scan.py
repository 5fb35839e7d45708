"""Flax NNX, steps in one lax.scan, by its functional interface: nnx.split and nnx.merge."""

from flax import nnx

from benchmarks.mnist_cnn.flax_nnx import start, train_step
from benchmarks.mnist_cnn.in_scan import in_scan


def prepare(weights, images, labels):
    objects, batches = start(weights, images, labels)
    graph, state = nnx.split(objects)

    def step(state, batch):
        model, optimizer = nnx.merge(graph, state)
        value = train_step(model, optimizer, *batch)
        return nnx.state((model, optimizer)), value

    return in_scan(state, batches, step)
