"""JAX alone: lax convolutions, reduce_window, jax.jit of one step with donated state."""

import functools

import jax
import jax.numpy as jnp
import optax

from benchmarks import mnist_cnn as case
from benchmarks.peer import Peer, cycle

OPTIMIZER = optax.adam(1e-3)


def conv(x, kernel, bias):
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias


def drop(x, rate, key, shape):
    return jnp.where(jax.random.bernoulli(key, 1 - rate, shape), x / (1 - rate), 0)


def loss_fn(w, images, labels, key=None):
    x = jax.nn.relu(conv(images, w["conv1/kernel"], w["conv1/bias"]))
    x = jax.nn.relu(conv(x, w["conv2/kernel"], w["conv2/bias"]))
    x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    if key is not None:
        x = drop(x, 0.25, jax.random.fold_in(key, 1), (x.shape[0], 1, 1, x.shape[3]))
    x = jax.nn.relu(x.reshape(x.shape[0], -1) @ w["fc1/kernel"] + w["fc1/bias"])
    if key is not None:
        x = drop(x, 0.5, jax.random.fold_in(key, 2), x.shape)
    logits = x @ w["fc2/kernel"] + w["fc2/bias"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def train_step(state, batch):
    w, opt_state, step = state
    key = jax.random.fold_in(jax.random.key(0), step) if case.DROPOUT else None
    loss, grads = jax.value_and_grad(loss_fn)(w, *batch, key)
    updates, opt_state = OPTIMIZER.update(grads, opt_state)
    return (optax.apply_updates(w, updates), opt_state, step + 1), loss


def start(weights, images, labels):
    w = jax.tree.map(jnp.asarray, weights)
    batches = jax.device_put(case.batches(images, labels))
    return (w, OPTIMIZER.init(w), jnp.zeros((), jnp.int32)), batches


def prepare(weights, images, labels):
    state, batches = start(weights, images, labels)
    step = functools.partial(jax.jit, donate_argnums=0)(train_step)
    advance = cycle(batches)

    def run(steps):
        nonlocal state
        for _ in range(steps):
            state, value = step(state, advance())
        return float(value)

    return Peer(run)
