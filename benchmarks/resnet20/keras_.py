"""Keras with its JAX backend: fit, which compiles the step and keeps its state on the device during an epoch."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
from keras import layers

from benchmarks import resnet20 as case
from benchmarks.peer import Peer

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def conv_norm(x, channels, stride=1, *, name):
    x = layers.ZeroPadding2D(1)(x)
    x = layers.Conv2D(channels, 3, stride, use_bias=False, name=f"{name}_conv")(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)


def block(x, channels, stride, *, name):
    y = layers.ReLU()(conv_norm(x, channels, stride, name=f"{name}_conv1"))
    y = conv_norm(y, channels, name=f"{name}_conv2")
    missing = (channels - x.shape[-1]) // 2
    shortcut = keras.ops.pad(x[:, ::stride, ::stride], [(0, 0)] * 3 + [(missing, missing)])
    return layers.ReLU()(y + shortcut)


def make_network():
    inputs = keras.Input((32, 32, 3))
    x = layers.ReLU()(conv_norm(inputs, case.WIDTH, name="stem"))
    for i, (channels, stride) in enumerate(case.BLOCKS):
        x = block(x, channels, stride, name=f"blocks_{i}")
    return keras.Model(inputs, layers.Dense(10, name="fc")(layers.GlobalAveragePooling2D()(x)))


def load(network, weights):
    for path, array in weights.items():
        layer, part = path.rsplit("/", 1)
        if "norm" in layer:
            part = {"scale": "gamma", "bias": "beta"}[part]
        variable = getattr(network.get_layer(layer.replace("/", "_")), part)
        variable.assign(array.reshape(variable.shape))


def train(case, network, weights, images, labels):
    """The program after the network."""
    load(network, weights)
    network.compile(keras.optimizers.SGD(case.RATE, case.MOMENTUM), LOSS)

    def run(steps):
        size = steps * case.BATCH
        return network.fit(images[:size], labels[:size], case.BATCH, shuffle=False, verbose=0).history["loss"][-1]

    return Peer(run)


def prepare(weights, images, labels):
    return train(case, make_network(), weights, images, labels)
