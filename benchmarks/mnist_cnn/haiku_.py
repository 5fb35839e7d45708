"""Haiku: hk.transform, jax.jit with donated state."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from benchmarks import mnist_cnn as case
from benchmarks.peer import Peer, cycle

OPTIMIZER = optax.adam(1e-3)


def forward(x, train):
    x = jax.nn.relu(hk.Conv2D(32, 3, padding="VALID", name="conv1")(x))
    x = jax.nn.relu(hk.Conv2D(64, 3, padding="VALID", name="conv2")(x))
    x = hk.max_pool(x, 2, 2, "VALID")
    if train:
        x = hk.dropout(hk.next_rng_key(), 0.25, x, broadcast_dims=(1, 2))
    x = jax.nn.relu(hk.Linear(128, name="fc1")(hk.Flatten()(x)))
    if train:
        x = hk.dropout(hk.next_rng_key(), 0.5, x)
    return hk.Linear(10, name="fc2")(x)


NETWORK = hk.transform(forward)


def loss_fn(params, key, images, labels, train):
    logits = NETWORK.apply(params, key, images, train)
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@functools.partial(jax.jit, donate_argnums=(0, 1, 2))
def train_step(params, opt_state, key, images, labels):
    key, subkey = jax.random.split(key)
    loss, grads = jax.value_and_grad(loss_fn)(params, subkey, images, labels, case.DROPOUT)
    updates, opt_state = OPTIMIZER.update(grads, opt_state)
    return loss, optax.apply_updates(params, updates), opt_state, key


def start(weights, images, labels):
    params = {
        layer: {"w": jnp.asarray(weights[f"{layer}/kernel"]), "b": jnp.asarray(weights[f"{layer}/bias"])}
        for layer in ("conv1", "conv2", "fc1", "fc2")
    }
    batches = jax.device_put(case.batches(images, labels))
    return (params, OPTIMIZER.init(params), jax.random.key(0)), batches


def prepare(weights, images, labels):
    state, batches = start(weights, images, labels)
    advance = cycle(batches)

    def run(steps):
        nonlocal state
        for _ in range(steps):
            value, *state = train_step(*state, *advance())
        return float(value)

    return Peer(run)
