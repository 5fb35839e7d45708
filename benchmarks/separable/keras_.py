"""Keras with its JAX backend: layers.DepthwiseConv2D, fit."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
from keras import layers

from benchmarks import separable as case
from benchmarks.resnet20.keras_ import train


def norm(x, name):
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x))


def block(x, channels, stride, *, name):
    x = layers.ZeroPadding2D(1)(x)
    x = norm(layers.DepthwiseConv2D(3, stride, use_bias=False, name=f"{name}_depthwise")(x), f"{name}_norm1")
    return norm(layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_pointwise")(x), f"{name}_norm2")


def make_network():
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(case.WIDTH, 3, padding="same", name="stem")(inputs)
    for i, (channels, stride) in enumerate(case.BLOCKS):
        x = block(x, channels, stride, name=f"blocks_{i}")
    return keras.Model(inputs, layers.Dense(10, name="fc")(layers.GlobalAveragePooling2D()(x)))


def prepare(weights, images, labels):
    return train(case, make_network(), weights, images, labels)
