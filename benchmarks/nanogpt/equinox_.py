"""Equinox: blocks of its MultiheadAttention under jax.vmap, eqx.filter_jit with donation."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax

from benchmarks import nanogpt as case
from benchmarks.nanogpt.optimizer import clipped_adamw
from benchmarks.peer import Peer, cycle

KEY = jax.random.key(0)  # weights are loaded
NAMES = {"query_proj": "query", "key_proj": "key", "value_proj": "value", "output_proj": "out"}


class Block(eqx.Module):
    norm1: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    norm2: eqx.nn.LayerNorm
    linear1: eqx.nn.Linear
    linear2: eqx.nn.Linear

    def __init__(self, features, heads, *, bias, epsilon):
        biases = {f"use_{name}_bias": bias for name in ("query", "key", "value", "output")}
        self.norm1 = eqx.nn.LayerNorm(features, epsilon, use_bias=bias)
        self.attention = eqx.nn.MultiheadAttention(heads, features, **biases, key=KEY)
        self.norm2 = eqx.nn.LayerNorm(features, epsilon, use_bias=bias)
        self.linear1 = eqx.nn.Linear(features, 4 * features, use_bias=bias, key=KEY)
        self.linear2 = eqx.nn.Linear(4 * features, features, use_bias=bias, key=KEY)

    def __call__(self, x, mask=None):
        y = jax.vmap(self.norm1)(x)
        x = x + self.attention(y, y, y, mask)
        y = jax.vmap(self.linear1)(jax.vmap(self.norm2)(x))
        return x + jax.vmap(self.linear2)(jax.nn.gelu(y, approximate=False))


class GPT(eqx.Module):
    tokens: eqx.nn.Embedding
    positions: eqx.nn.Embedding
    blocks: list[Block]
    norm: eqx.nn.LayerNorm

    def __init__(self):
        self.tokens = eqx.nn.Embedding(case.VOCABULARY, case.FEATURES, key=KEY)
        self.positions = eqx.nn.Embedding(case.CONTEXT, case.FEATURES, key=KEY)
        self.blocks = [Block(case.FEATURES, case.HEADS, bias=False, epsilon=1e-5) for _ in range(case.LAYERS)]
        self.norm = eqx.nn.LayerNorm(case.FEATURES, 1e-5, use_bias=False)

    def __call__(self, ids):
        x = jax.vmap(self.tokens)(ids) + jax.vmap(self.positions)(jnp.arange(len(ids)))
        mask = jnp.tril(jnp.ones((len(ids), len(ids)), dtype=bool))
        for block in self.blocks:
            x = block(x, mask)
        return jax.vmap(self.norm)(x) @ self.tokens.weight.T


def load(model, weights):
    def find(path, leaf):
        array = weights
        for key in path:
            name = getattr(key, "name", getattr(key, "idx", None))
            if name == "weight":
                (name,) = array.keys() - {"bias"}
            array = array[NAMES.get(name, name)]
        return jnp.asarray(array.reshape(leaf.shape[::-1]).T if name == "kernel" else array.reshape(leaf.shape))

    arrays, rest = eqx.partition(model, eqx.is_array)
    return eqx.combine(jax.tree_util.tree_map_with_path(find, arrays), rest)


def loss_fn(model, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(x), y).mean()


def train(model, optimizer, batches):
    @eqx.filter_jit(donate="all-except-first")
    def train_step(batch, model, opt_state):
        loss, grads = eqx.filter_value_and_grad(loss_fn)(model, *batch)
        updates, opt_state = optimizer.update(grads, opt_state, eqx.filter(model, eqx.is_array))
        return eqx.apply_updates(model, updates), opt_state, loss

    opt_state, advance = optimizer.init(eqx.filter(model, eqx.is_array)), cycle(batches)

    def run(steps):
        nonlocal model, opt_state
        for _ in range(steps):
            model, opt_state, value = train_step(advance(), model, opt_state)
        return float(value)

    return Peer(run)


def prepare(weights, ids):
    return train(load(GPT(), weights), clipped_adamw(), jax.device_put(case.batches(ids)))
