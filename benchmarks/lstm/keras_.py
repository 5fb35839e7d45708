"""Keras with its JAX backend: layers.LSTM, fit, which keeps its state on the device."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np

from benchmarks import lstm as case
from benchmarks.peer import Peer


def prepare(weights, x, y):
    network = keras.Sequential(
        [keras.Input((case.LENGTH, case.UNITS)), keras.layers.LSTM(case.UNITS, return_sequences=True)]
    )
    network.layers[0].set_weights([weights[name] for name in ("input", "hidden", "bias")])
    loss = float(np.mean((network(x[: case.BATCH], training=False) - y[: case.BATCH]) ** 2))
    network.compile(keras.optimizers.SGD(case.RATE), "mean_squared_error")

    def run(steps):
        return network.fit(x, y, case.BATCH, epochs=steps // case.BATCHES, shuffle=False, verbose=0).history["loss"][-1]

    return Peer(loss, run)
