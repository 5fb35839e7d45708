"""Flax Linen: nn.RNN of its OptimizedLSTMCell, jax.jit with donated parameters."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from benchmarks import lstm as case
from benchmarks.peer import Peer, cycle

MODEL = nn.RNN(nn.OptimizedLSTMCell(case.UNITS))
OPTIMIZER = optax.sgd(case.RATE)


def loss_fn(params, x, y):
    return jnp.mean((MODEL.apply({"params": params}, x) - y) ** 2)


@functools.partial(jax.jit, donate_argnums=(0, 1))
def train_step(params, opt_state, x, y):
    loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
    updates, opt_state = OPTIMIZER.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


def prepare(weights, x, y):
    gates = {name: jnp.split(jnp.asarray(array), 4, axis=-1) for name, array in weights.items()}
    cell = {}
    for i, gate in enumerate("ifgo"):
        cell[f"i{gate}"] = {"kernel": gates["input"][i]}
        cell[f"h{gate}"] = {"kernel": gates["hidden"][i], "bias": gates["bias"][i]}
    params = {"cell": cell}
    batches = jax.device_put(case.batches(x, y))
    opt_state, advance = OPTIMIZER.init(params), cycle(batches)

    def run(steps):
        nonlocal params, opt_state
        for _ in range(steps):
            params, opt_state, value = train_step(params, opt_state, *advance())
        return float(value)

    return Peer(run)
