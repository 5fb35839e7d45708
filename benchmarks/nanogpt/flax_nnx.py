"""Flax NNX: blocks of its MultiHeadAttention, nnx.jit with nnx.cached_partial."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from benchmarks import nanogpt as case
from benchmarks.nanogpt.optimizer import clipped_adamw
from benchmarks.peer import Peer, cycle


class Block(nnx.Module):
    def __init__(self, features, heads, *, causal, bias, epsilon, rngs):
        self.causal = causal
        self.norm1 = nnx.LayerNorm(features, epsilon=epsilon, use_bias=bias, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(heads, features, use_bias=bias, decode=False, rngs=rngs)
        self.norm2 = nnx.LayerNorm(features, epsilon=epsilon, use_bias=bias, rngs=rngs)
        self.linear1 = nnx.Linear(features, 4 * features, use_bias=bias, rngs=rngs)
        self.linear2 = nnx.Linear(4 * features, features, use_bias=bias, rngs=rngs)

    def __call__(self, x):
        x = x + self.attention(self.norm1(x), is_causal=self.causal)
        return x + self.linear2(nnx.gelu(self.linear1(self.norm2(x)), approximate=False))


class GPT(nnx.Module):
    def __init__(self, rngs):
        settings = {"causal": True, "bias": False, "epsilon": 1e-5, "rngs": rngs}
        self.tokens = nnx.Embed(case.VOCABULARY, case.FEATURES, rngs=rngs)
        self.positions = nnx.Embed(case.CONTEXT, case.FEATURES, rngs=rngs)
        self.blocks = nnx.List([Block(case.FEATURES, case.HEADS, **settings) for _ in range(case.LAYERS)])
        self.norm = nnx.LayerNorm(case.FEATURES, epsilon=1e-5, use_bias=False, rngs=rngs)

    def __call__(self, ids):
        x = self.tokens(ids) + self.positions(jnp.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.tokens.attend(self.norm(x))


def load(model, weights):
    tree = weights | {"blocks": dict(enumerate(weights["blocks"]))}
    nnx.update(model, jax.tree.map(jnp.asarray, tree))


def loss_fn(model, inputs, targets):
    return optax.softmax_cross_entropy_with_integer_labels(model(inputs), targets).mean()


@nnx.jit
def train_step(model, optimizer, inputs, targets):
    loss, grads = nnx.value_and_grad(loss_fn)(model, inputs, targets)
    optimizer.update(model, grads)
    return loss


def train(model, optimizer, batches):
    step = nnx.cached_partial(train_step, model, nnx.Optimizer(model, optimizer, wrt=nnx.Param))
    advance = cycle(batches)

    def run(steps):
        for _ in range(steps):
            value = step(*advance())
        return float(value)

    return Peer(run)


def prepare(weights, ids):
    model = GPT(nnx.Rngs(0))
    load(model, weights)
    return train(model, clipped_adamw(), jax.device_put(case.batches(ids)))
