"""Equinox: a scan of eqx.nn.LSTMCell, jax.vmap over the sequences, eqx.filter_jit with donation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from benchmarks import lstm as case
from benchmarks.peer import Peer, cycle

OPTIMIZER = optax.sgd(case.RATE)


def make_cell(weights):
    cell = eqx.nn.LSTMCell(case.UNITS, case.UNITS, key=jax.random.key(0))
    arrays = [jnp.asarray(weights[name].T) for name in ("input", "hidden", "bias")]
    return eqx.tree_at(lambda node: (node.weight_ih, node.weight_hh, node.bias), cell, arrays)


def run_cell(cell, x):
    def step(carry, x):
        carry = cell(x, carry)
        return carry, carry[0]

    zeros = jnp.zeros(case.UNITS)
    return jax.lax.scan(step, (zeros, zeros), x)[1]


def train(apply, model, batches):
    """The program after the network, which `apply(model, x)` runs over one sequence."""

    def loss_fn(model, x, y):
        return jnp.mean((jax.vmap(apply, in_axes=(None, 0))(model, x) - y) ** 2)

    @eqx.filter_jit(donate="all-except-first")
    def train_step(batch, model, opt_state):
        loss, grads = eqx.filter_value_and_grad(loss_fn)(model, *batch)
        updates, opt_state = OPTIMIZER.update(grads, opt_state, eqx.filter(model, eqx.is_array))
        return loss, eqx.apply_updates(model, updates), opt_state

    batches = jax.device_put(batches)
    states = model, OPTIMIZER.init(eqx.filter(model, eqx.is_array))
    advance = cycle(batches)

    def run(steps):
        nonlocal states
        for _ in range(steps):
            value, *states = train_step(advance(), *states)
        return float(value)

    return Peer(run)


def prepare(weights, x, y):
    return train(run_cell, make_cell(weights), case.batches(x, y))
