"""Flax Linen with its TrainState and jax.jit, as in its documentation."""

import jax
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

from benchmarks import mnist_cnn as case
from benchmarks.peer import Peer, cycle


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.relu(nn.Conv(32, (3, 3), padding="VALID", name="conv1")(x))
        x = nn.relu(nn.Conv(64, (3, 3), padding="VALID", name="conv2")(x))
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = nn.Dropout(0.25, broadcast_dims=(1, 2), deterministic=not train)(x)
        x = x.reshape((x.shape[0], -1))
        x = nn.relu(nn.Dense(128, name="fc1")(x))
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dense(10, name="fc2")(x)


@jax.jit
def train_step(state, images, labels, key):
    def loss_fn(params):
        rngs = {"dropout": jax.random.fold_in(key, state.step)}
        logits = state.apply_fn({"params": params}, images, train=case.DROPOUT, rngs=rngs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss


def start(weights, images, labels):
    model = Net()
    params = {}
    for path, array in weights.items():
        layer, part = path.split("/")
        params.setdefault(layer, {})[part] = jax.numpy.asarray(array)
    batches = jax.device_put(case.batches(images, labels))
    return TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(1e-3)), batches


def prepare(weights, images, labels):
    state, batches = start(weights, images, labels)
    advance, key = cycle(batches), jax.random.key(0)

    def run(steps):
        nonlocal state
        for _ in range(steps):
            state, value = train_step(state, *advance(), key)
        return float(value)

    return Peer(run)
