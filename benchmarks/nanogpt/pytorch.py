"""PyTorch, eager, as in nanoGPT: one product for queries, keys and values, scaled_dot_product_attention."""

import numpy as np
import torch
import torch.nn.functional as functional
from torch import nn

from benchmarks import nanogpt as case
from benchmarks.peer import Peer, cycle


class Attention(nn.Module):
    def __init__(self, features, heads, *, causal, bias):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(features, 3 * features, bias)
        self.out = nn.Linear(features, features, bias)

    def forward(self, x):
        batch, time, features = x.shape
        parts = self.qkv(x).split(features, dim=2)
        heads = [part.view(batch, time, self.heads, -1).transpose(1, 2) for part in parts]
        y = functional.scaled_dot_product_attention(*heads, is_causal=self.causal)
        return self.out(y.transpose(1, 2).contiguous().view(batch, time, features))


class Block(nn.Module):
    def __init__(self, features, heads, *, causal, bias, epsilon, gelu="none"):
        super().__init__()
        self.gelu = gelu
        self.norm1 = nn.LayerNorm(features, epsilon, bias=bias)
        self.attention = Attention(features, heads, causal=causal, bias=bias)
        self.norm2 = nn.LayerNorm(features, epsilon, bias=bias)
        self.linear1 = nn.Linear(features, 4 * features, bias)
        self.linear2 = nn.Linear(4 * features, features, bias)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.linear2(functional.gelu(self.linear1(self.norm2(x)), approximate=self.gelu))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        settings = {"causal": True, "bias": False, "epsilon": 1e-5}
        self.tokens = nn.Embedding(case.VOCABULARY, case.FEATURES)
        self.positions = nn.Embedding(case.CONTEXT, case.FEATURES)
        self.blocks = nn.ModuleList(Block(case.FEATURES, case.HEADS, **settings) for _ in range(case.LAYERS))
        self.norm = nn.LayerNorm(case.FEATURES, bias=False)
        self.head = nn.Linear(case.FEATURES, case.VOCABULARY, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids, targets):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return functional.cross_entropy(self.head(self.norm(x)).view(-1, case.VOCABULARY), targets.view(-1))


def fuse(attention):
    """One layer for queries, keys and values, and one for the result; their kernels are matrices."""
    features = len(attention["query"]["kernel"])
    layers = [attention[name] for name in ("query", "key", "value")]
    qkv = {"kernel": np.concatenate([layer["kernel"].reshape(features, -1) for layer in layers], axis=1)}
    if "bias" in layers[0]:
        qkv["bias"] = np.concatenate([layer["bias"].ravel() for layer in layers])
    return {"qkv": qkv, "out": attention["out"] | {"kernel": attention["out"]["kernel"].reshape(-1, features)}}


def load(module, weights):
    """Copy nested dicts of weights to the modules and parameters of these names."""
    for name, part in weights.items():
        if isinstance(part, list):
            for block, arrays in zip(getattr(module, name), part, strict=True):
                load(block, arrays)
        elif isinstance(part, dict) and "query" in part:
            load(getattr(module, name), fuse(part))
        elif isinstance(part, dict):
            load(getattr(module, name), part)
        else:
            parameter = getattr(module, name if hasattr(module, name) else "weight")
            array = part.transpose(-1, -2, *range(part.ndim - 2)) if name == "kernel" else part
            parameter.data.copy_(torch.tensor(array))


def make_optimizer(network):
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": case.DECAY},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=case.RATE, betas=case.BETAS)


def prepare(weights, ids, compiled=lambda network: network):
    network = GPT()
    load(network, weights)
    batches = [(torch.tensor(x).long(), torch.tensor(y).long()) for x, y in case.batches(ids)]
    optimizer, model, advance = make_optimizer(network), compiled(network), cycle(batches)

    def run(steps):
        for _ in range(steps):
            value = model(*advance())
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), case.CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return value.item()

    return Peer(run)
