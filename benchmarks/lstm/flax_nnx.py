"""Flax NNX: nnx.RNN of its OptimizedLSTMCell, nnx.jit."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from benchmarks import lstm as case
from benchmarks.peer import Peer, cycle


def loss_fn(model, x, y):
    return jnp.mean((model(x) - y) ** 2)


@nnx.jit
def train_step(model, optimizer, x, y):
    loss, grads = nnx.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return loss


def prepare(weights, x, y):
    model = nnx.RNN(nnx.OptimizedLSTMCell(case.UNITS, case.UNITS, rngs=nnx.Rngs(0)))
    cell = model.cell
    cell.dense_i.kernel = nnx.Param(jnp.asarray(weights["input"]))
    cell.dense_h.kernel = nnx.Param(jnp.asarray(weights["hidden"]))
    cell.dense_h.bias = nnx.Param(jnp.asarray(weights["bias"]))
    batches = jax.device_put(case.batches(x, y))
    optimizer = nnx.Optimizer(model, optax.sgd(case.RATE), wrt=nnx.Param)
    advance = cycle(batches)

    def run(steps):
        for _ in range(steps):
            value = train_step(model, optimizer, *advance())
        return float(value)

    return Peer(run)
