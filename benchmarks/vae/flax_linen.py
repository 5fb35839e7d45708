"""Flax Linen: its TrainState, jax.jit with donated state."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training.train_state import TrainState
from flax.traverse_util import unflatten_dict

from benchmarks import vae as case
from benchmarks.peer import Peer, cycle
from benchmarks.vae import elbo


class VAE(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        hidden = nn.relu(nn.Dense(400, name="hidden")(x))
        mean, log_variance = nn.Dense(20, name="mean")(hidden), nn.Dense(20, name="log_variance")(hidden)
        noise = jax.random.normal(self.make_rng("noise"), mean.shape) if train else 0
        z = mean + jnp.exp(log_variance / 2) * noise
        return nn.Dense(784, name="out")(nn.relu(nn.Dense(400, name="decoder")(z))), mean, log_variance


@functools.partial(jax.jit, donate_argnums=0)
def train_step(state, images, key):
    def loss_fn(params):
        rngs = {"noise": jax.random.fold_in(key, state.step)}
        return elbo.loss(*state.apply_fn({"params": params}, images, train=True, rngs=rngs), images)

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss


def prepare(weights, images):
    model = VAE()
    params = unflatten_dict({path: jnp.asarray(array) for path, array in weights.items()}, sep="/")
    batches = jax.device_put(case.batches(images))
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(case.RATE))
    advance, key = cycle(batches), jax.random.key(0)

    def run(steps):
        nonlocal state
        for _ in range(steps):
            state, value = train_step(state, advance(), key)
        return float(value)

    return Peer(run)
