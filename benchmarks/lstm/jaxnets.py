"""jaxnets: the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import jax.numpy as jnp
import optax

from benchmarks import lstm as case
from benchmarks.loops import many_at_once
from jaxnets import metrics, nn
from jaxnets.training import TrainState, make_step


def loss(params, state, batch, *, key, train, implementation="scan"):
    x, y = batch
    outputs, _ = nn.lstm(params, x, implementation=implementation)
    value = jnp.mean((outputs - y) ** 2)
    return value, (state, {"loss": metrics.mean(value[None])})


def prepare(weights, x, y):
    params = {
        name: jnp.asarray(weights[name.removesuffix("_kernel")]) for name in ("input_kernel", "hidden_kernel", "bias")
    }
    optimizer = optax.sgd(case.RATE)
    state = TrainState.create(params, optimizer.init(params), seed=0)
    data = jax.device_put((x, y))
    return many_at_once(make_step(loss, optimizer), state, data, case)
