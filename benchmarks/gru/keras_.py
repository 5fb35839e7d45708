"""Keras with its JAX backend: layers.Bidirectional of layers.GRU, fit, which keeps its state on the device."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np

from benchmarks import gru as case
from benchmarks.peer import Peer


def cell_weights(weights, path):
    """Keras has the gates in the order update, reset, candidate, and the two biases in one array."""
    arrays = []
    for name in ("input_kernel", "hidden_kernel", "bias", "hidden_bias"):
        reset, update, candidate = np.split(weights[f"{path}/{name}"], 3, axis=-1)
        arrays.append(np.concatenate([update, reset, candidate], axis=-1))
    inputs, hidden, *biases = arrays
    return [inputs, hidden, np.stack(biases)]


def load(network, weights):
    for i, layer in enumerate(network.layers):
        layer.forward_layer.set_weights(cell_weights(weights, f"{i}/forward"))
        layer.backward_layer.set_weights(cell_weights(weights, f"{i}/backward"))


def prepare(weights, x, y):
    gru = [keras.layers.GRU(case.UNITS, return_sequences=True, reset_after=True) for _ in range(case.LAYERS)]
    network = keras.Sequential([keras.Input((case.LENGTH, case.UNITS)), *map(keras.layers.Bidirectional, gru)])
    load(network, case.two_biases(weights))
    network.compile(keras.optimizers.SGD(case.RATE), "mean_squared_error")

    def run(steps):
        size = steps * case.BATCH
        return network.fit(x[:size], y[:size], case.BATCH, shuffle=False, verbose=0).history["loss"][-1]

    return Peer(run)
