"""Flax Linen: blocks of its MultiHeadDotProductAttention, its TrainState, jax.jit with donation."""

import numpy as np
from flax import linen as nn

from benchmarks import translation as case
from benchmarks.seq2seq.flax_linen import train


class Block(nn.Module):
    @nn.compact
    def __call__(self, x, mask, memory=None, memory_mask=None):
        y = nn.LayerNorm(1e-5, name="norm1")(x)
        x = x + nn.MultiHeadDotProductAttention(case.HEADS, name="attention")(y, mask=mask)
        if memory is not None:
            y = nn.LayerNorm(1e-5, name="norm_memory")(x)
            attention = nn.MultiHeadDotProductAttention(case.HEADS, name="memory_attention")
            x = x + attention(y, memory, mask=memory_mask)
        y = nn.LayerNorm(1e-5, name="norm2")(x)
        y = nn.relu(nn.Dense(case.HIDDEN, name="linear1")(y))
        return x + nn.Dense(case.FEATURES, name="linear2")(y)


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, source, target):
        table = nn.Embed(case.VOCABULARY, case.FEATURES, name="target")
        real, scale = (source != 0)[:, None, None], np.float32(np.sqrt(case.FEATURES))
        x = table(source) * scale + case.POSITIONS
        for i in range(case.LAYERS):
            x = Block(name=f"encoder_{i}")(x, real)
        memory = nn.LayerNorm(1e-5, name="encoder_norm")(x)
        x = table(target) * scale + case.POSITIONS
        for i in range(case.LAYERS):
            x = Block(name=f"decoder_{i}")(x, nn.make_causal_mask(target), memory, real)
        bias = self.param("bias", nn.initializers.zeros, (case.VOCABULARY,))
        return table.attend(nn.LayerNorm(1e-5, name="decoder_norm")(x)) + bias


def prepare(weights, source, target):
    stacks = ("encoder", "decoder")
    blocks = {f"{name}_{i}": block for name in stacks for i, block in enumerate(weights[name])}
    params = {name: part for name, part in weights.items() if name not in stacks} | blocks
    return train(case, Transformer(), params, source, target)
