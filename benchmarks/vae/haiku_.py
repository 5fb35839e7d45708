"""Haiku: hk.transform, jax.jit with donated state."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from benchmarks import vae as case
from benchmarks.peer import Peer, cycle
from benchmarks.vae import elbo

OPTIMIZER = optax.adam(case.RATE)


def forward(x, train):
    layers = {name: hk.Linear(size, name=name) for name, (_, size) in case.LAYERS.items()}
    hidden = jax.nn.relu(layers["hidden"](x))
    mean, log_variance = layers["mean"](hidden), layers["log_variance"](hidden)
    noise = jax.random.normal(hk.next_rng_key(), mean.shape) if train else 0
    z = mean + jnp.exp(log_variance / 2) * noise
    return layers["out"](jax.nn.relu(layers["decoder"](z))), mean, log_variance


NETWORK = hk.transform(forward)


def loss_fn(params, key, images, train):
    return elbo.loss(*NETWORK.apply(params, key, images, train), images)


@functools.partial(jax.jit, donate_argnums=(0, 1, 2))
def train_step(params, opt_state, key, images):
    key, noise_key = jax.random.split(key)
    loss, grads = jax.value_and_grad(loss_fn)(params, noise_key, images, True)
    updates, opt_state = OPTIMIZER.update(grads, opt_state)
    return loss, optax.apply_updates(params, updates), opt_state, key


def prepare(weights, images):
    params = {
        name: {"w": jnp.asarray(weights[f"{name}/kernel"]), "b": jnp.asarray(weights[f"{name}/bias"])}
        for name in case.LAYERS
    }
    batches = jax.device_put(case.batches(images))
    states = params, OPTIMIZER.init(params), jax.random.key(0)
    advance = cycle(batches)

    def run(steps):
        nonlocal states
        for _ in range(steps):
            value, *states = train_step(*states, advance())
        return float(value)

    return Peer(run)
