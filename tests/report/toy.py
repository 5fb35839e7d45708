"""The smallest run of `fit` that has every event."""

import jax.numpy as jnp
import optax

from jaxnets import metrics
from jaxnets.training import FitResult, TrainState, fit, make_evaluate, make_step


def loss(params, state, batch, *, key, train):
    errors = (batch - params) ** 2
    return jnp.mean(errors), (state, {"loss": metrics.mean(errors)})


def train(callbacks, epochs=2) -> FitResult:
    """5 steps an epoch."""
    optimizer = optax.sgd(0.1)
    params = jnp.zeros(())
    start = TrainState.create(params, optimizer.init(params), seed=0)
    evaluate = make_evaluate(loss, batch_size=10)
    data, validation = jnp.linspace(0, 1, 50), jnp.ones(10)
    return fit(
        start,
        make_step(loss, optimizer),
        data,
        epochs=epochs,
        batch_size=10,
        evaluate=evaluate,
        validation=validation,
        callbacks=callbacks,
    )
