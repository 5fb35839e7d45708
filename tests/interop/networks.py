"""What the tests of the wrappers share: one network as jaxnets writes it, data, and Flax's rules of promotion."""

import functools

import jax
import numpy as np
import optax

from jaxnets import losses, make_model, nn, subkey
from jaxnets.model import Model
from jaxnets.training import supervised
from tests.oracles import normal, permissive_promotion

KEY = jax.random.key(3)
DATA = normal(32, 5), np.arange(32) % 3
BATCHES = [(DATA[0][start : start + 8], DATA[1][start : start + 8]) for start in range(0, 32, 8)]
OPTIMIZER = optax.sgd(0.1, momentum=0.9)  # Adam would magnify the rounding of gradients that are 0


def native(rate=0.5):
    """Linear, batch norm, dropout and two more linear layers in a list."""
    spec = {
        "fc": nn.linear_spec(5, 6),
        "bn": nn.batch_norm_spec(6),
        "head": [nn.linear_spec(6, 4), nn.linear_spec(4, 3)],
    }

    def apply(params, state, x, *, key=None, train):
        x = nn.linear(params["fc"], x)
        x, bn = nn.batch_norm(params["bn"], state["bn"], x, train=train)
        x = nn.dropout(jax.nn.relu(x), rate, key=subkey(key, "drop"), train=train)
        return nn.linear(params["head"][1], nn.linear(params["head"][0], x)), {"bn": bn}

    return make_model(spec, apply)


def permissive(model):
    """The same model, run under JAX's default promotion rules, which Flax's layers rely on."""

    def wrap(function):
        @functools.wraps(function)
        def run(*args, **kwargs):
            with permissive_promotion():
                return function(*args, **kwargs)

        return run

    return Model(wrap(model.init), wrap(model.apply))


def cross_entropy_of(model):
    return supervised(model, losses.cross_entropy)


def mean_cross_entropy(logits, labels):
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
