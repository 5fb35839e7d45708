"""Flax NNX with nnx.jit, and nnx.cached_partial as its performance guide advises for small models."""

import jax
import optax
from flax import nnx

from benchmarks import tiny_mlp as case
from benchmarks.peer import Peer, cycle


class Net(nnx.Module):
    def __init__(self, rngs):
        self.fc1 = nnx.Linear(8, 12, rngs=rngs)
        self.fc2 = nnx.Linear(12, 8, rngs=rngs)
        self.fc3 = nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.fc3(nnx.relu(self.fc2(nnx.relu(self.fc1(x)))))[:, 0]


def loss_fn(model, x, y):
    return optax.sigmoid_binary_cross_entropy(model(x), y).mean()


@nnx.jit
def train_step(model, optimizer, x, y):
    loss, grads = nnx.value_and_grad(loss_fn)(model, x, y)
    optimizer.update(model, grads)
    return loss


def prepare(weights, x, y):
    model = Net(nnx.Rngs(0))
    for path, array in weights.items():
        layer, part = path.split("/")
        setattr(getattr(model, layer), part, nnx.Param(jax.numpy.asarray(array)))
    batches = jax.device_put(case.batches(x, y))
    optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
    step = nnx.cached_partial(train_step, model, optimizer)
    advance = cycle(batches)

    def run(steps):
        for _ in range(steps):
            value = step(*advance())
        return float(value)

    return Peer(run)
