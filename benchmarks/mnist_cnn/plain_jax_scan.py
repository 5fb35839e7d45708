"""JAX alone, steps in one lax.scan: what every library's network does inside a scan on CPU, seconds a step."""

import jax

from benchmarks import mnist_cnn as case
from benchmarks.mnist_cnn.plain_jax import start, train_step
from benchmarks.peer import Peer

STEPS = 2


def prepare(weights, images, labels):
    loss, state = start(weights, images, labels)
    batches = (images.reshape(-1, case.BATCH, *images.shape[1:]), labels.reshape(-1, case.BATCH))
    batches = jax.device_put(jax.tree.map(lambda a: a[:STEPS], batches))
    epoch = jax.jit(lambda state, batches: jax.lax.scan(train_step, state, batches), donate_argnums=0)

    def run(steps):
        nonlocal state
        for _ in range(steps // STEPS):
            state, value = epoch(state, batches)
        value.block_until_ready()

    return Peer(loss, run, STEPS)
