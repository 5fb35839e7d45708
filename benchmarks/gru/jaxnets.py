"""jaxnets: nn.stacked of bidirectional nn.gru, and the loop's own dispatch, many steps on batches on the device."""

import functools

import jax
import jax.numpy as jnp
import optax

from benchmarks import gru as case
from benchmarks.loops import many_at_once
from jaxnets import losses, make_model, nn
from jaxnets.training import TrainState, make_step, supervised

SPEC = nn.stacked_spec(nn.gru_spec, case.UNITS, case.UNITS, count=case.LAYERS, bidirectional=True)


def apply(params, state, x, *, key=None, train):
    y, _ = nn.stacked(functools.partial(nn.bidirectional, nn.gru), params, x)
    return y, state


def load(params, weights):
    def leaf(path, _):
        return jnp.asarray(weights[jax.tree_util.keystr(path, simple=True, separator="/")])

    return jax.tree_util.tree_map_with_path(leaf, params)


def prepare(weights, x, y):
    model, optimizer = make_model(SPEC, apply), optax.sgd(case.RATE)
    loss = supervised(model, losses.squared_error)
    shapes, _ = jax.eval_shape(model.init, jax.random.key(0))
    params = load(shapes, weights)
    state = TrainState.create(params, optimizer.init(params), seed=0)
    data = jax.device_put((x, y))
    return many_at_once(make_step(loss, optimizer), state, data, case)
