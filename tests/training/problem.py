"""A small classifier with batch norm and dropout, and data, that the training tests share."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets import losses, make_model, metrics, nn, subkey
from jaxnets.training import init_train_state, make_step, supervised
from tests.oracles import permissive_optimizer


def apply(params, state, x, *, key=None, train):
    x = nn.linear(params["fc1"], x)
    x, bn = nn.batch_norm(params["bn"], state["bn"], x, train=train)
    x = nn.dropout(jax.nn.relu(x), 0.2, key=subkey(key, "drop"), train=train)
    return nn.linear(params["fc2"], x), {"bn": bn}


MODEL = make_model(
    {"fc1": nn.linear_spec(4, 8, bias=False), "bn": nn.batch_norm_spec(8), "fc2": nn.linear_spec(8, 3)}, apply
)
OPTIMIZER = permissive_optimizer(optax.adam(0.01))
LOSS = supervised(MODEL, losses.cross_entropy, {"accuracy": metrics.accuracy})
STEP = make_step(LOSS, OPTIMIZER)


def start(seed=0):
    return init_train_state(MODEL, OPTIMIZER, seed)


def data(size=50, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(size, 4)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(np.argmax(x[:, :3], axis=1), jnp.int32)
