"""jaxnets: the loop's default, many steps in one dispatch on batches drawn on the device."""

import jax

from benchmarks import tiny_mlp as case
from benchmarks.peer import Peer
from benchmarks.tiny_mlp.jaxnets import start
from jaxnets.train import compile_step, scan_data


def prepare(weights, x, y):
    loss, step, state = start(weights, x, y)
    run_steps = compile_step(scan_data(step, steps=100, batch_size=case.BATCH))
    data = jax.device_put((x, y))

    def run(steps):
        nonlocal state
        for _ in range(steps // 100):
            state, _ = run_steps(state, data)
        jax.block_until_ready(state.params)

    return Peer(loss, run)
