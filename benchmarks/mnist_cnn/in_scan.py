"""Steps of a JAX program in one lax.scan: its network inside a scan on CPU takes seconds per step."""

import jax
import jax.numpy as jnp

from benchmarks import mnist_cnn as case
from benchmarks.peer import Peer


def in_scan(state, batches, train_step):
    """A peer; `train_step(state, batch) -> (state, loss)`, where the state is a pytree of arrays."""
    steps_together = min(2, case.STEPS)
    batches = jax.tree.map(lambda *arrays: jnp.stack(arrays), *batches[:steps_together])
    run_steps = jax.jit(lambda state, batches: jax.lax.scan(train_step, state, batches), donate_argnums=0)

    def run(steps):
        nonlocal state
        for _ in range(steps // steps_together):
            state, values = run_steps(state, batches)
        return float(values[-1])

    return Peer(run, steps_together)
