"""Keras on JAX: blocks of its MultiHeadAttention, fit of one epoch."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import keras
from keras import layers, ops

from benchmarks import nanogpt as case
from benchmarks.peer import Peer


class Block(layers.Layer):
    def __init__(self, features, heads, *, causal, bias, epsilon):
        super().__init__()
        self.causal = causal
        self.norm1 = layers.LayerNormalization(epsilon=epsilon, center=bias)
        self.attention = layers.MultiHeadAttention(heads, features // heads, use_bias=bias)
        self.norm2 = layers.LayerNormalization(epsilon=epsilon, center=bias)
        self.linear1 = layers.Dense(4 * features, activation="gelu", use_bias=bias)
        self.linear2 = layers.Dense(features, use_bias=bias)

    def call(self, x):
        y = self.norm1(x)
        x = x + self.attention(y, y, use_causal_mask=self.causal)
        return x + self.linear2(self.linear1(self.norm2(x)))


class GPT(keras.Model):
    def __init__(self):
        super().__init__()
        settings = {"causal": True, "bias": False, "epsilon": 1e-5}
        self.tokens = layers.ReversibleEmbedding(case.VOCABULARY, case.FEATURES)
        self.positions = layers.Embedding(case.CONTEXT, case.FEATURES)
        self.blocks = [Block(case.FEATURES, case.HEADS, **settings) for _ in range(case.LAYERS)]
        self.norm = layers.LayerNormalization(epsilon=1e-5, center=False)

    def call(self, ids):
        x = self.tokens(ids) + self.positions(ops.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.tokens(self.norm(x), reverse=True)


def leaves(tree):
    """The arrays in the order of the computation, which is Keras' order."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [array for part in tree for array in leaves(part)] if isinstance(tree, list) else [tree]


def train(model, weights, optimizer, x, y, batch):
    model(x[:batch])  # makes the weights
    model.set_weights(leaves(weights))
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    def run(steps):
        size = steps * batch
        return model.fit(x[:size], y[:size], batch, shuffle=False, verbose=0).history["loss"][-1]

    return Peer(run)


def prepare(weights, ids):
    beta_1, beta_2 = case.BETAS
    optimizer = keras.optimizers.AdamW(
        case.RATE, case.DECAY, beta_1=beta_1, beta_2=beta_2, epsilon=1e-8, global_clipnorm=case.CLIP
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma"])
    return train(GPT(), weights, optimizer, ids[:, :-1], ids[:, 1:], case.BATCH)
