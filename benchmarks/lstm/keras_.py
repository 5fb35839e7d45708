"""Keras with its JAX backend: layers.LSTM, fit, which keeps its state on the device."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras

from benchmarks import lstm as case
from benchmarks.peer import Peer


def prepare(weights, x, y):
    network = keras.Sequential(
        [keras.Input((case.LENGTH, case.UNITS)), keras.layers.LSTM(case.UNITS, return_sequences=True)]
    )
    network.layers[0].set_weights([weights[name] for name in ("input", "hidden", "bias")])
    network.compile(keras.optimizers.SGD(case.RATE), "mean_squared_error")

    def run(steps):
        return network.fit(x, y, case.BATCH, epochs=steps // case.BATCHES, shuffle=False, verbose=0).history["loss"][-1]

    return Peer(run)
