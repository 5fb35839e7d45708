"""PyTorch, eager: nn.TransformerEncoder and nn.TransformerDecoder, norms first."""

import numpy as np
import torch
from torch import nn

from benchmarks import translation as case
from benchmarks.seq2seq.pytorch import train


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        sizes = case.FEATURES, case.HEADS, case.HIDDEN, 0.0
        settings = {"batch_first": True, "norm_first": True}
        norms = [nn.LayerNorm(case.FEATURES) for _ in range(2)]
        encoder, decoder = (
            nn.TransformerEncoderLayer(*sizes, **settings),
            nn.TransformerDecoderLayer(*sizes, **settings),
        )
        self.table = nn.Embedding(case.VOCABULARY, case.FEATURES)
        self.encoder = nn.TransformerEncoder(encoder, case.LAYERS, norms[0], enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(decoder, case.LAYERS, norms[1])
        self.out = nn.Linear(case.FEATURES, case.VOCABULARY)
        self.out.weight = self.table.weight
        self.register_buffer("positions", torch.tensor(case.POSITIONS))
        self.register_buffer("causal", torch.ones(case.TIME, case.TIME, dtype=torch.bool).triu(1))

    def embed(self, ids):
        return self.table(ids) * case.FEATURES**0.5 + self.positions

    def forward(self, source, target):
        padding = source == 0
        memory = self.encoder(self.embed(source), src_key_padding_mask=padding)
        x = self.decoder(
            self.embed(target), memory, tgt_mask=self.causal, tgt_is_causal=True, memory_key_padding_mask=padding
        )
        return self.out(x)


def load_attention(module, weights):
    features, parts = case.FEATURES, [weights[name] for name in ("query", "key", "value")]
    copy(module.in_proj_weight, np.concatenate([part["kernel"].reshape(features, -1).T for part in parts]))
    copy(module.in_proj_bias, np.concatenate([part["bias"].ravel() for part in parts]))
    copy(module.out_proj.weight, weights["out"]["kernel"].reshape(-1, features).T)
    copy(module.out_proj.bias, weights["out"]["bias"])


def load_block(block, weights):
    load_attention(block.self_attn, weights["attention"])
    layers = {"linear1": "linear1", "linear2": "linear2", "norm1": "norm1", "norm2": "norm2"}
    if "memory_attention" in weights:
        load_attention(block.multihead_attn, weights["memory_attention"])
        layers |= {"norm2": "norm_memory", "norm3": "norm2"}
    for theirs, ours in layers.items():
        load_layer(getattr(block, theirs), weights[ours])


def load_layer(module, weights):
    copy(module.weight, weights["kernel"].T if "kernel" in weights else weights["scale"])
    copy(module.bias, weights["bias"])


def copy(parameter, array):
    parameter.data.copy_(torch.tensor(array))


def prepare(weights, source, target):
    network = Transformer()
    copy(network.table.weight, weights["target"]["embedding"])
    copy(network.out.bias, weights["bias"])
    for name, stack in (("encoder", network.encoder), ("decoder", network.decoder)):
        load_layer(stack.norm, weights[f"{name}_norm"])
        for block, arrays in zip(stack.layers, weights[name], strict=True):
            load_block(block, arrays)
    return train(case, network, source, target)
