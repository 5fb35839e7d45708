"""Keras with its JAX backend: fit, which compiles the step and keeps its state on the device during an epoch."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras

from benchmarks import mnist_cnn as case
from benchmarks.peer import Peer

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def make_network():
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu", name="conv1"),
            keras.layers.Conv2D(64, 3, activation="relu", name="conv2"),
            keras.layers.MaxPooling2D(),
            keras.layers.SpatialDropout2D(0.25 * case.DROPOUT),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu", name="fc1"),
            keras.layers.Dropout(0.5 * case.DROPOUT),
            keras.layers.Dense(10, name="fc2"),
        ]
    )


def start(weights, images, labels):
    network = make_network()
    for path, array in weights.items():
        layer, part = path.split("/")
        getattr(network.get_layer(layer), part).assign(array)
    return network, keras.optimizers.Adam(1e-3, epsilon=1e-8)


def prepare(weights, images, labels):
    network, optimizer = start(weights, images, labels)
    network.compile(optimizer, LOSS)

    def run(steps):
        size = steps * case.BATCH
        return network.fit(images[:size], labels[:size], case.BATCH, shuffle=False, verbose=0).history["loss"][-1]

    return Peer(run)
