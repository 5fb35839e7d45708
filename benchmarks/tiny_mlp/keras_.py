"""Keras with its JAX backend: fit, which compiles the step and keeps its state on the device during an epoch."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
from keras import layers

from benchmarks import tiny_mlp as case
from benchmarks.peer import Peer

LOSS = keras.losses.BinaryCrossentropy(from_logits=True)


def prepare(weights, x, y):
    network = keras.Sequential(
        [keras.Input((8,)), layers.Dense(12, activation="relu"), layers.Dense(8, activation="relu"), layers.Dense(1)]
    )
    network.set_weights([weights[f"fc{i}/{part}"] for i in (1, 2, 3) for part in ("kernel", "bias")])
    y = y[:, None]
    batches = -(-len(x) // case.BATCH)
    network.compile(keras.optimizers.Adam(1e-3, epsilon=1e-8), LOSS)

    def run(steps):
        return network.fit(x, y, case.BATCH, epochs=steps // batches, shuffle=False, verbose=0).history["loss"][-1]

    return Peer(run)
