"""JAX alone, steps in one lax.scan."""

from benchmarks.mnist_cnn.in_scan import in_scan
from benchmarks.mnist_cnn.plain_jax import start, train_step


def prepare(weights, images, labels):
    return in_scan(*start(weights, images, labels), train_step)
