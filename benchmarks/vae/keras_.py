"""Keras with its JAX backend: a model that adds the divergence to its loss, fit."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
from keras import layers, ops

from benchmarks import vae as case
from benchmarks.peer import Peer


class VAE(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = {name: layers.Dense(size) for name, (_, size) in case.LAYERS.items()}
        self.seeds = keras.random.SeedGenerator(0)

    def call(self, x, training=False):
        hidden = ops.relu(self.dense["hidden"](x))
        mean, log_variance = self.dense["mean"](hidden), self.dense["log_variance"](hidden)
        noise = keras.random.normal(ops.shape(mean), seed=self.seeds) if training else 0
        z = mean + ops.exp(log_variance / 2) * noise
        self.add_loss(ops.mean(-0.5 * ops.sum(1 + log_variance - mean**2 - ops.exp(log_variance), -1)))
        return self.dense["out"](ops.relu(self.dense["decoder"](z)))


def reconstruction(images, logits):
    return ops.sum(ops.binary_crossentropy(images, logits, from_logits=True), -1)


def prepare(weights, images):
    network = VAE()
    first = images[: case.BATCH]
    network(first)
    for name, layer in network.dense.items():
        layer.set_weights([weights[f"{name}/kernel"], weights[f"{name}/bias"]])
    network.compile(keras.optimizers.Adam(case.RATE, epsilon=1e-8), reconstruction)

    def run(steps):
        for _ in range(steps // case.BATCHES):
            history = network.fit(images, images, case.BATCH, shuffle=False, verbose=0)
        return history.history["loss"][-1]

    return Peer(run)
