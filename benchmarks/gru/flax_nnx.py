"""Flax NNX: nnx.Bidirectional of nnx.RNN of its GRUCell, nnx.jit with nnx.cached_partial."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from benchmarks import gru as case
from benchmarks.peer import Peer, cycle


def make_cell(weights, path, rngs):
    """NNX's cell has no bias in its hidden product until it is given one, whose parts for r and z start at zero."""
    inputs, hidden, bias, hidden_bias = (
        jnp.asarray(weights[f"{path}/{name}"]) for name in ("input_kernel", "hidden_kernel", "bias", "hidden_bias")
    )
    cell = nnx.GRUCell(len(inputs), case.UNITS, rngs=rngs)
    cell.dense_h = nnx.Linear(case.UNITS, 3 * case.UNITS, rngs=rngs)
    cell.dense_i.kernel, cell.dense_i.bias = nnx.Param(inputs), nnx.Param(bias)
    cell.dense_h.kernel, cell.dense_h.bias = nnx.Param(hidden), nnx.Param(hidden_bias)
    return cell


def make_model(weights, rngs):
    layers = []
    for i in range(case.LAYERS):
        cells = [make_cell(weights, f"{i}/{direction}", rngs) for direction in ("forward", "backward")]
        layers.append(nnx.Bidirectional(*(nnx.RNN(cell) for cell in cells)))
    return nnx.Sequential(*layers)


def loss_fn(model, x, y):
    return jnp.mean((model(x) - y) ** 2)


@nnx.jit
def train_step(model, optimizer, x, y):
    loss, grads = nnx.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return loss


def prepare(weights, x, y):
    model = make_model(case.two_biases(weights), nnx.Rngs(0))
    batches = jax.device_put(case.batches(x, y))
    optimizer = nnx.Optimizer(model, optax.sgd(case.RATE), wrt=nnx.Param)
    step = nnx.cached_partial(train_step, model, optimizer)
    advance = cycle(batches)

    def run(steps):
        for _ in range(steps):
            value = step(*advance())
        return float(value)

    return Peer(run)
