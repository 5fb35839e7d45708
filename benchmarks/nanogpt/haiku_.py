"""Haiku: blocks of its MultiHeadAttention, hk.transform, jax.jit with donation."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from benchmarks import nanogpt as case
from benchmarks.nanogpt.blocks import numbered
from benchmarks.nanogpt.optimizer import clipped_adamw
from benchmarks.peer import Peer, cycle

NAMES = {"linear": "out", "w": "kernel", "b": "bias", "offset": "bias", "embeddings": "embedding"}


class Block(hk.Module):
    def __init__(self, heads, *, bias, epsilon, name):
        super().__init__(name=name)
        self.heads, self.bias, self.epsilon = heads, bias, epsilon

    def __call__(self, x, mask=None):
        features = x.shape[-1]
        norm = functools.partial(hk.LayerNorm, -1, True, self.bias, eps=self.epsilon)
        settings = {"w_init": hk.initializers.VarianceScaling(), "with_bias": self.bias, "name": "attention"}
        y = norm(name="norm1")(x)
        x = x + hk.MultiHeadAttention(self.heads, features // self.heads, **settings)(y, y, y, mask)
        y = hk.Linear(4 * features, self.bias, name="linear1")(norm(name="norm2")(x))
        return x + hk.Linear(features, self.bias, name="linear2")(jax.nn.gelu(y, approximate=False))


def gpt(ids):
    tokens = hk.Embed(case.VOCABULARY, case.FEATURES, name="tokens")
    x = tokens(ids) + hk.Embed(case.CONTEXT, case.FEATURES, name="positions")(jnp.arange(ids.shape[1]))
    mask = jnp.tril(jnp.ones((1, 1, ids.shape[1], ids.shape[1])))
    for i in range(case.LAYERS):
        x = Block(case.HEADS, bias=False, epsilon=1e-5, name=f"blocks_{i}")(x, mask)
    return hk.LayerNorm(-1, True, False, name="norm")(x) @ tokens.embeddings.T


def load(params, weights):
    def find(path, leaf):
        array = numbered(weights)
        for name in jax.tree_util.keystr(path, simple=True, separator="/").removeprefix("~/").split("/"):
            array = array[NAMES.get(name, name)]
        return jnp.asarray(array.reshape(leaf.shape))

    return jax.tree_util.tree_map_with_path(find, params)


def train(forward, weights, optimizer, batches):
    network = hk.without_apply_rng(hk.transform(forward))

    def loss_fn(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(network.apply(params, x), y).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def train_step(params, opt_state, x, y):
        loss, grads = jax.value_and_grad(loss_fn)(params, x, y)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    params = load(network.init(jax.random.key(0), batches[0][0]), weights)
    opt_state, advance = optimizer.init(params), cycle(batches)

    def run(steps):
        nonlocal params, opt_state
        for _ in range(steps):
            params, opt_state, value = train_step(params, opt_state, *advance())
        return float(value)

    return Peer(run)


def prepare(weights, ids):
    return train(gpt, weights, clipped_adamw(), jax.device_put(case.batches(ids)))
