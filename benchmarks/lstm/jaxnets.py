"""jaxnets: make_step compiled alone."""

import jax
import jax.numpy as jnp
import optax

from benchmarks import lstm as case
from benchmarks.last_loss import last_loss
from benchmarks.peer import Peer, cycle
from jaxnets import metrics, nn
from jaxnets.train import TrainState, compile_step, make_step


def loss(params, state, batch, *, key, train, implementation="scan"):
    x, y = batch
    outputs, _ = nn.lstm(params, x, implementation=implementation)
    value = jnp.mean((outputs - y) ** 2)
    return value, (state, {"loss": metrics.mean(value[None])})


def prepare(weights, x, y):
    params = {
        name: jnp.asarray(weights[name.removesuffix("_kernel")]) for name in ("input_kernel", "hidden_kernel", "bias")
    }
    batches = jax.device_put(case.batches(x, y))
    optimizer = optax.sgd(case.RATE)
    state = TrainState.create(params, optimizer.init(params), seed=0)
    step, advance = compile_step(make_step(loss, optimizer)), cycle(batches)

    def run(steps):
        nonlocal state
        for _ in range(steps):
            state, measured = step(state, advance())
        return last_loss(measured, state)

    return Peer(run)
