"""jaxnets: all epochs in one dispatch; the last batch of an epoch is filled up with examples of weight 0."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import pima_mlp as case
from benchmarks.last_loss import last_loss
from benchmarks.peer import Peer
from jaxnets import losses, make_model, metrics, nn
from jaxnets.training import compile_step, init_train_state, make_step, scan_data


def apply(params, state, x, *, key=None, train):
    x = jax.nn.relu(nn.linear(params["fc1"], x))
    x = jax.nn.relu(nn.linear(params["fc2"], x))
    return nn.linear(params["fc3"], x)[:, 0], state


MODEL = make_model({"fc1": nn.linear_spec(8, 12), "fc2": nn.linear_spec(12, 8), "fc3": nn.linear_spec(8, 1)}, apply)


def loss(params, state, batch, *, key, train):
    x, labels, weights = batch
    logits, state = MODEL.apply(params, state, x, train=train)
    values = losses.binary_cross_entropy(logits, labels)
    measured = {"loss": metrics.mean(values, weights=weights)}
    return jnp.sum(weights * values) / jnp.sum(weights), (state, measured)


def start(weights, x, y, optimizer=optax.adam(1e-3)):
    state = init_train_state(MODEL, optimizer, seed=0)  # as a program without given weights starts
    params = {n: {p: jnp.asarray(weights[f"{n}/{p}"]) for p in layer} for n, layer in state.params.items()}
    missing = -len(x) % case.BATCH
    ones = np.ones(len(x), np.float32)
    data = jax.device_put((np.pad(x, ((0, missing), (0, 0))), np.pad(y, (0, missing)), np.pad(ones, (0, missing))))
    train = scan_data(make_step(loss, optimizer), steps=case.STEPS, batch_size=case.BATCH, shuffle=False)
    return state._replace(params=params), train, data, case.STEPS


def prepare(weights, x, y, **settings):
    state, train, data, _ = start(weights, x, y, **settings)
    compiled = compile_step(train)

    def run(steps):
        nonlocal state
        for _ in range(steps // case.STEPS):
            state, measured = compiled(state, data)
        return last_loss(measured, state)

    return Peer(run)
