"""Flax Linen: blocks of its MultiHeadDotProductAttention, its TrainState, jax.jit with donation."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.training.train_state import TrainState

from benchmarks import nanogpt as case
from benchmarks.loops import one_by_one
from benchmarks.nanogpt.blocks import numbered
from benchmarks.nanogpt.optimizer import clipped_adamw
from benchmarks.peer import cycle


class Block(nn.Module):
    heads: int
    bias: bool
    epsilon: float

    @nn.compact
    def __call__(self, x, mask=None):
        features = x.shape[-1]
        attention = nn.MultiHeadDotProductAttention(self.heads, use_bias=self.bias, name="attention")
        x = x + attention(nn.LayerNorm(self.epsilon, use_bias=self.bias, name="norm1")(x), mask=mask)
        y = nn.LayerNorm(self.epsilon, use_bias=self.bias, name="norm2")(x)
        y = nn.gelu(nn.Dense(4 * features, use_bias=self.bias, name="linear1")(y), approximate=False)
        return x + nn.Dense(features, use_bias=self.bias, name="linear2")(y)


class GPT(nn.Module):
    @nn.compact
    def __call__(self, ids):
        tokens = nn.Embed(case.VOCABULARY, case.FEATURES, name="tokens")
        positions = nn.Embed(case.CONTEXT, case.FEATURES, name="positions")
        x, mask = tokens(ids) + positions(jnp.arange(ids.shape[1])), nn.make_causal_mask(ids)
        for i in range(case.LAYERS):
            x = Block(case.HEADS, False, 1e-5, name=f"blocks_{i}")(x, mask)
        return tokens.attend(nn.LayerNorm(1e-5, use_bias=False, name="norm")(x))


@functools.partial(jax.jit, donate_argnums=0)
def train_step(state, inputs, targets):
    def loss_fn(params):
        logits = state.apply_fn({"params": params}, inputs)
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss


def train(model, weights, optimizer, batches):
    params = jax.tree.map(jnp.asarray, numbered(weights))
    state = TrainState.create(apply_fn=model.apply, params=params, tx=optimizer)
    advance = cycle(batches)
    return one_by_one(train_step, state, advance)


def prepare(weights, ids):
    return train(GPT(), weights, clipped_adamw(), jax.device_put(case.batches(ids)))
