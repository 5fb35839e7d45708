"""Equinox: jax.vmap of the network for one image, eqx.filter_jit with donation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from benchmarks import vae as case
from benchmarks.peer import Peer, cycle
from benchmarks.vae import elbo

OPTIMIZER = optax.adam(case.RATE)


class VAE(eqx.Module):
    layers: dict[str, eqx.nn.Linear]

    def __init__(self, weights):
        self.layers = {}
        for name, sizes in case.LAYERS.items():
            layer = eqx.nn.Linear(*sizes, key=jax.random.key(0))
            arrays = jnp.asarray(weights[f"{name}/kernel"].T), jnp.asarray(weights[f"{name}/bias"])
            self.layers[name] = eqx.tree_at(lambda node: (node.weight, node.bias), layer, arrays)

    def __call__(self, x, key):
        hidden = jax.nn.relu(self.layers["hidden"](x))
        mean, log_variance = self.layers["mean"](hidden), self.layers["log_variance"](hidden)
        noise = 0 if key is None else jax.random.normal(key, mean.shape)
        z = mean + jnp.exp(log_variance / 2) * noise
        return self.layers["out"](jax.nn.relu(self.layers["decoder"](z))), mean, log_variance


def loss_fn(model, images, keys):
    return elbo.loss(*jax.vmap(model)(images, keys), images)


@eqx.filter_jit(donate="all-except-first")
def train_step(batch, model, opt_state, key):
    key, noise_key = jax.random.split(key)
    loss, grads = eqx.filter_value_and_grad(loss_fn)(model, batch, jax.random.split(noise_key, len(batch)))
    updates, opt_state = OPTIMIZER.update(grads, opt_state, eqx.filter(model, eqx.is_array))
    return loss, eqx.apply_updates(model, updates), opt_state, key


def prepare(weights, images):
    model = VAE(weights)
    batches = jax.device_put(case.batches(images))
    states = model, OPTIMIZER.init(eqx.filter(model, eqx.is_array)), jax.random.key(0)
    advance = cycle(batches)

    def run(steps):
        nonlocal states
        for _ in range(steps):
            value, *states = train_step(advance(), *states)
        return float(value)

    return Peer(run)
