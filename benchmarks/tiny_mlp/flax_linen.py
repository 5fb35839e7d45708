"""Flax Linen with its TrainState and jax.jit, as in its documentation."""

import jax
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

from benchmarks import tiny_mlp as case
from benchmarks.loops import one_by_one
from benchmarks.peer import cycle


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(12, name="fc1")(x))
        x = nn.relu(nn.Dense(8, name="fc2")(x))
        return nn.Dense(1, name="fc3")(x)[:, 0]


@jax.jit
def train_step(state, x, y):
    def loss_fn(params):
        return optax.sigmoid_binary_cross_entropy(state.apply_fn({"params": params}, x), y).mean()

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss


def prepare(weights, x, y):
    model = Net()
    params = {}
    for path, array in weights.items():
        layer, part = path.split("/")
        params.setdefault(layer, {})[part] = jax.numpy.asarray(array)
    batches = jax.device_put(case.batches(x, y))
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optax.adam(1e-3))
    advance = cycle(batches)
    return one_by_one(train_step, state, advance)
