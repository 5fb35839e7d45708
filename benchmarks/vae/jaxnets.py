"""jaxnets: the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import jax.numpy as jnp
import optax

from benchmarks import vae as case
from benchmarks.loops import many_at_once
from benchmarks.vae import elbo
from jaxnets import make_model, metrics, nn
from jaxnets.training import TrainState, make_step

SPEC = {name: nn.linear_spec(*sizes) for name, sizes in case.LAYERS.items()}


def apply(params, state, x, *, key=None, train):
    hidden = jax.nn.relu(nn.linear(params["hidden"], x))
    mean, log_variance = nn.linear(params["mean"], hidden), nn.linear(params["log_variance"], hidden)
    noise = jax.random.normal(key, mean.shape) if train else 0
    z = mean + jnp.exp(log_variance / 2) * noise
    logits = nn.linear(params["out"], jax.nn.relu(nn.linear(params["decoder"], z)))
    return (logits, mean, log_variance), state


MODEL = make_model(SPEC, apply)


def loss(params, state, images, *, key, train):
    outputs, state = MODEL.apply(params, state, images, key=key, train=train)
    value = elbo.loss(*outputs, images)
    return value, (state, {"loss": metrics.mean(value[None])})


def prepare(weights, images):
    optimizer = optax.adam(case.RATE)
    params = {name: {part: jnp.asarray(weights[f"{name}/{part}"]) for part in layer} for name, layer in SPEC.items()}
    state = TrainState.create(params, optimizer.init(params), seed=0)
    data = jax.device_put(images)
    return many_at_once(make_step(loss, optimizer), state, data, case)
