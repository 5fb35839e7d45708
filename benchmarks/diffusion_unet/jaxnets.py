"""jaxnets: the library's model and the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import jax.numpy as jnp
import optax

from benchmarks import diffusion_unet as case
from benchmarks.loops import many_at_once
from benchmarks.seq2seq.jaxnets import load
from jaxnets import diffusion, losses, metrics
from jaxnets.models import DiffusionInputs, DiffusionUNetConfig, diffusion_unet
from jaxnets.training import init_train_state, make_step


def make_model():
    sizes = {"classes": case.CLASSES, "features": case.FEATURES, "groups": case.GROUPS}
    settings = {"multipliers": (1, 2), "blocks": 1, "attention": (), "dropout_rate": 0.0}
    return diffusion_unet(DiffusionUNetConfig(case.SIZE, case.CHANNELS, **sizes, **settings))


def prepare(weights, *data):
    model, shares = make_model(), jnp.asarray(case.shares())

    def loss(params, state, batch, *, key, train):
        x, noise, t, classes = batch
        inputs = DiffusionInputs(diffusion.add_noise(shares, x, t, noise), t, classes)
        predicted, state = model.apply(params, state, inputs, key=key, train=train)
        target = diffusion.training_target(shares, x, t, noise, prediction="velocity")
        values = losses.squared_error(predicted, target)
        return jnp.mean(values), (state, {"loss": metrics.mean(values)})

    optimizer = optax.chain(optax.clip_by_global_norm(case.CLIP), optax.adam(case.RATE))
    state = init_train_state(model, optimizer, seed=0)
    state = state._replace(params=load(state.params, weights))
    data = jax.device_put(data)
    return many_at_once(make_step(loss, optimizer), state, data, case)
