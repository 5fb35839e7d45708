"""Flax NNX, as in its MNIST tutorial: nnx.jit over model, optimizer and batch."""

import jax
import optax
from flax import nnx

from benchmarks import mnist_cnn as case
from benchmarks.peer import Peer, cycle


class Net(nnx.Module):
    def __init__(self, rngs):
        self.conv1 = nnx.Conv(1, 32, (3, 3), padding="VALID", rngs=rngs)
        self.conv2 = nnx.Conv(32, 64, (3, 3), padding="VALID", rngs=rngs)
        self.dropout1 = nnx.Dropout(0.25, broadcast_dims=(1, 2), rngs=rngs)
        self.dropout2 = nnx.Dropout(0.5, rngs=rngs)
        self.fc1 = nnx.Linear(9216, 128, rngs=rngs)
        self.fc2 = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.conv1(x))
        x = nnx.relu(self.conv2(x))
        x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        x = self.dropout1(x)
        x = x.reshape(x.shape[0], -1)
        x = nnx.relu(self.fc1(x))
        x = self.dropout2(x)
        return self.fc2(x)


def loss_fn(model, images, labels):
    return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


@nnx.jit
def train_step(model, optimizer, images, labels):
    loss, grads = nnx.value_and_grad(loss_fn)(model, images, labels)
    optimizer.update(model, grads)
    return loss


def start(weights, images, labels):
    model = Net(nnx.Rngs(0))
    for path, array in weights.items():
        layer, part = path.split("/")
        setattr(getattr(model, layer), part, nnx.Param(jax.numpy.asarray(array)))
    batches = jax.device_put(case.batches(images, labels))
    if not case.DROPOUT:
        model.eval()
    return (model, nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)), batches


def prepare(weights, images, labels):
    (model, optimizer), batches = start(weights, images, labels)
    advance = cycle(batches)

    def run(steps):
        for _ in range(steps):
            value = train_step(model, optimizer, *advance())
        return float(value)

    return Peer(run)
