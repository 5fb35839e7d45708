"""Haiku with hk.transform and jax.jit, as in its documentation."""

import haiku as hk
import jax
import optax

from benchmarks import tiny_mlp as case
from benchmarks.peer import Peer, cycle

OPTIMIZER = optax.adam(1e-3)


def forward(x):
    x = jax.nn.relu(hk.Linear(12, name="fc1")(x))
    x = jax.nn.relu(hk.Linear(8, name="fc2")(x))
    return hk.Linear(1, name="fc3")(x)[:, 0]


NETWORK = hk.without_apply_rng(hk.transform(forward))


def loss_fn(params, x, y):
    return optax.sigmoid_binary_cross_entropy(NETWORK.apply(params, x), y).mean()


@jax.jit
def train_step(params, opt_state, x, y):
    loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
    updates, opt_state = OPTIMIZER.update(grads, opt_state)
    return optax.apply_updates(params, updates), opt_state, loss


def prepare(weights, x, y):
    batches = jax.device_put(case.batches(x, y))
    params = {
        f"fc{i}": {"w": jax.numpy.asarray(weights[f"fc{i}/kernel"]), "b": jax.numpy.asarray(weights[f"fc{i}/bias"])}
        for i in (1, 2, 3)
    }
    opt_state = OPTIMIZER.init(params)
    advance = cycle(batches)

    def run(steps):
        nonlocal params, opt_state
        for _ in range(steps):
            params, opt_state, value = train_step(params, opt_state, *advance())
        return float(value)

    return Peer(run)
