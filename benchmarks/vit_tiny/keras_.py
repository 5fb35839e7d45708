"""Keras on JAX: blocks of its MultiHeadAttention, fit of one epoch."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
from keras import layers, ops

from benchmarks import vit_tiny as case
from benchmarks.nanogpt.keras_ import Block, train


class ViT(keras.Model):
    def __init__(self):
        super().__init__()
        settings = {"causal": False, "bias": True, "epsilon": case.EPSILON}
        self.patches = layers.Conv2D(case.FEATURES, case.PATCH, case.PATCH, padding="valid")
        self.class_token = self.add_weight(shape=(1, 1, case.FEATURES))
        self.positions = self.add_weight(shape=(1, case.POSITIONS, case.FEATURES))
        self.blocks = [Block(case.FEATURES, case.HEADS, **settings) for _ in range(case.LAYERS)]
        self.norm = layers.LayerNormalization(epsilon=case.EPSILON)
        self.fc = layers.Dense(case.CLASSES)

    def call(self, images):
        x = ops.reshape(self.patches(images), (-1, case.POSITIONS - 1, case.FEATURES))
        tokens = ops.broadcast_to(self.class_token, (ops.shape(x)[0], 1, case.FEATURES))
        x = ops.concatenate([tokens, x], axis=1) + self.positions
        for block in self.blocks:
            x = block(x)
        return self.fc(self.norm(x[:, 0]))


def prepare(weights, images, labels):
    order = ("class_token", "positions", "patches", "blocks", "norm", "fc")
    optimizer = keras.optimizers.Adam(1e-3, epsilon=1e-8)
    return train(ViT(), {name: weights[name] for name in order}, optimizer, images, labels, case.BATCH)
