"""Haiku: hk.dynamic_unroll of hk.LSTM, which adds 1 to the forget gate, jax.jit with donated parameters."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import lstm as case
from benchmarks.peer import Peer, cycle

OPTIMIZER = optax.sgd(case.RATE)


def forward(x):
    core = hk.LSTM(case.UNITS, name="lstm")
    return hk.dynamic_unroll(core, x, core.initial_state(len(x)), time_major=False)[0]


NETWORK = hk.without_apply_rng(hk.transform(forward))


def loss_fn(params, x, y):
    return jnp.mean((NETWORK.apply(params, x) - y) ** 2)


@functools.partial(jax.jit, donate_argnums=(0, 1))
def train_step(params, opt_state, x, y):
    loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
    updates, opt_state = OPTIMIZER.update(grads, opt_state)
    return loss, optax.apply_updates(params, updates), opt_state


def load(weights):
    """Haiku has one kernel for the input and the hidden state, with the gates in the order i, g, f, o."""
    both = {"w": np.concatenate([weights["input"], weights["hidden"]]), "b": weights["bias"]}
    params = {}
    for name, array in both.items():
        i, f, g, o = np.split(array, 4, axis=-1)
        params[name] = jnp.asarray(np.concatenate([i, g, f - (name == "b"), o], axis=-1))
    return {"lstm/linear": params}


def prepare(weights, x, y):
    params = load(weights)
    batches = jax.device_put(case.batches(x, y))
    states = params, OPTIMIZER.init(params)
    advance = cycle(batches)

    def run(steps):
        nonlocal states
        for _ in range(steps):
            value, *states = train_step(*states, *advance())
        return float(value)

    return Peer(run)
