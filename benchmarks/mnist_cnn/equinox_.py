"""Equinox: jax.vmap of the network for one image, eqx.filter_jit with donation."""

import operator

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from benchmarks import mnist_cnn as case
from benchmarks.peer import Peer, cycle

OPTIMIZER = optax.adam(1e-3)


class Net(eqx.Module):
    conv1: eqx.nn.Conv2d
    conv2: eqx.nn.Conv2d
    pool: eqx.nn.MaxPool2d
    dropout1: eqx.nn.Dropout
    dropout2: eqx.nn.Dropout
    fc1: eqx.nn.Linear
    fc2: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.conv1 = eqx.nn.Conv2d(1, 32, 3, key=keys[0])
        self.conv2 = eqx.nn.Conv2d(32, 64, 3, key=keys[1])
        self.pool = eqx.nn.MaxPool2d(2, 2)
        self.dropout1 = eqx.nn.Dropout(0.25)
        self.dropout2 = eqx.nn.Dropout(0.5)
        self.fc1 = eqx.nn.Linear(9216, 128, key=keys[2])
        self.fc2 = eqx.nn.Linear(128, 10, key=keys[3])

    def __call__(self, x, key=None):
        key1, key2 = (None, None) if key is None else jax.random.split(key)
        x = jax.nn.relu(self.conv1(x))
        x = jax.nn.relu(self.conv2(x))
        x = self.pool(x)
        x = x * self.dropout1(jnp.ones((64, 1, 1)), key=key1)
        x = jax.nn.relu(self.fc1(x.ravel()))
        x = self.dropout2(x, key=key2)
        return self.fc2(x)


def load(model, weights):
    for path, array in case.channels_first(weights).items():
        where = operator.attrgetter(path.replace("/", ".").replace("kernel", "weight"))
        model = eqx.tree_at(where, model, jnp.asarray(array).reshape(where(model).shape))
    return model


def loss_fn(model, images, labels, keys):
    logits = jax.vmap(model)(images, keys)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@eqx.filter_jit(donate="all-except-first")
def train_step(batch, model, opt_state, key):
    key, subkey = jax.random.split(key)
    loss, grads = eqx.filter_value_and_grad(loss_fn)(model, *batch, jax.random.split(subkey, case.BATCH))
    updates, opt_state = OPTIMIZER.update(grads, opt_state, eqx.filter(model, eqx.is_array))
    return loss, eqx.apply_updates(model, updates), opt_state, key


def start(weights, images, labels):
    batches = jax.device_put(case.batches(images.transpose(0, 3, 1, 2), labels))
    model = load(Net(jax.random.key(0)), weights)
    model = eqx.nn.inference_mode(model, not case.DROPOUT)
    return (model, OPTIMIZER.init(eqx.filter(model, eqx.is_array)), jax.random.key(0)), batches


def prepare(weights, images, labels):
    state, batches = start(weights, images, labels)
    advance = cycle(batches)

    def run(steps):
        nonlocal state
        for _ in range(steps):
            value, *state = train_step(advance(), *state)
        return float(value)

    return Peer(run)
