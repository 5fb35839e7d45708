"""Flax NNX: nnx.jit with nnx.cached_partial."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from benchmarks import vae as case
from benchmarks.peer import Peer, cycle
from benchmarks.vae import elbo


class VAE(nnx.Module):
    def __init__(self, rngs):
        for name, sizes in case.LAYERS.items():
            setattr(self, name, nnx.Linear(*sizes, rngs=rngs))
        self.rngs = rngs

    def __call__(self, x, train):
        hidden = nnx.relu(self.hidden(x))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        noise = jax.random.normal(self.rngs.noise(), mean.shape) if train else 0
        z = mean + jnp.exp(log_variance / 2) * noise
        return self.out(nnx.relu(self.decoder(z))), mean, log_variance


def loss_fn(model, images, train):
    return elbo.loss(*model(images, train), images)


@nnx.jit
def train_step(model, optimizer, images):
    loss, grads = nnx.value_and_grad(loss_fn)(model, images, True)
    optimizer.update(model, grads)
    return loss


def prepare(weights, images):
    model = VAE(nnx.Rngs(0))
    for path, array in weights.items():
        layer, part = path.split("/")
        setattr(getattr(model, layer), part, nnx.Param(jnp.asarray(array)))
    batches = jax.device_put(case.batches(images))
    optimizer = nnx.Optimizer(model, optax.adam(case.RATE), wrt=nnx.Param)
    step = nnx.cached_partial(train_step, model, optimizer)
    advance = cycle(batches)

    def run(steps):
        for _ in range(steps):
            value = step(advance())
        return float(value)

    return Peer(run)
