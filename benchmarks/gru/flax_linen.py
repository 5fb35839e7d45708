"""Flax Linen: nn.Bidirectional of nn.RNN of its GRUCell, jax.jit with donated parameters."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from benchmarks import gru as case
from benchmarks.peer import Peer, cycle

OPTIMIZER = optax.sgd(case.RATE)

LAYERS = [nn.Bidirectional(*(nn.RNN(nn.GRUCell(case.UNITS)) for _ in range(2))) for _ in range(case.LAYERS)]
MODEL = nn.Sequential(LAYERS)


def loss_fn(params, x, y):
    return jnp.mean((MODEL.apply({"params": params}, x) - y) ** 2)


@functools.partial(jax.jit, donate_argnums=(0, 1))
def train_step(params, opt_state, x, y):
    loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
    updates, opt_state = OPTIMIZER.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


def cell(weights, path):
    """Linen has a dense layer a gate: r, z, n of the input and of the hidden state."""
    inputs, hidden, biases = (
        jnp.split(jnp.asarray(weights[f"{path}/{name}"]), 3, axis=-1)
        for name in ("input_kernel", "hidden_kernel", "bias")
    )
    params = {f"i{gate}": {"kernel": inputs[i], "bias": biases[i]} for i, gate in enumerate("rzn")}
    params |= {f"h{gate}": {"kernel": hidden[i]} for i, gate in enumerate("rzn")}
    params["hn"]["bias"] = jnp.asarray(weights[f"{path}/hidden_bias"])
    return params


def prepare(weights, x, y):
    params = {
        f"layers_{i}": {f"{way}_rnn": {"cell": cell(weights, f"{i}/{way}")} for way in ("forward", "backward")}
        for i in range(case.LAYERS)
    }
    batches = jax.device_put(case.batches(x, y))
    opt_state, advance = OPTIMIZER.init(params), cycle(batches)

    def run(steps):
        nonlocal params, opt_state
        for _ in range(steps):
            params, opt_state, value = train_step(params, opt_state, *advance())
        return float(value)

    return Peer(run)
