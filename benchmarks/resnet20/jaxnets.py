"""jaxnets: the library's model and the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import jax.numpy as jnp
import optax

from benchmarks import resnet20 as case
from benchmarks.loops import many_at_once
from jaxnets import losses
from jaxnets.models import cifar_resnet
from jaxnets.training import init_train_state, make_step, supervised


def conv_norm(weights, path):
    kernel, scale, bias = (
        jnp.asarray(weights[f"{path}/{leaf}"]) for leaf in ("conv/kernel", "norm/scale", "norm/bias")
    )
    return {"conv": {"kernel": kernel}, "norm": {"scale": scale, "bias": bias}}


def make_params(weights):
    blocks = [
        {name: conv_norm(weights, f"blocks/{i}/{name}") for name in ("conv1", "conv2")} for i in range(len(case.BLOCKS))
    ]
    stages = [
        {"first": blocks[i], "rest": jax.tree.map(lambda *arrays: jnp.stack(arrays), *blocks[i + 1 : i + 3])}
        for i in (0, 3, 6)
    ]
    fc = {part: jnp.asarray(weights[f"fc/{part}"]) for part in ("kernel", "bias")}
    return {"stem": conv_norm(weights, "stem"), "stages": stages, "fc": fc}


def train(case, model, params, images, labels):
    """The program after the network."""
    loss, optimizer = supervised(model, losses.cross_entropy), optax.sgd(case.RATE, case.MOMENTUM)
    state = init_train_state(model, optimizer, seed=0)._replace(params=params)
    data = jax.device_put((images, labels))
    return many_at_once(make_step(loss, optimizer), state, data, case)


def prepare(weights, images, labels):
    return train(case, cifar_resnet(), make_params(weights), images, labels)
