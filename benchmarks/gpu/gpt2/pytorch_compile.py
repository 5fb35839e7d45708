"""PyTorch as nanoGPT: scaled_dot_product_attention, autocast to bfloat16, fused AdamW, torch.compile."""

import torch
import torch.nn.functional as functional
from torch import nn

from benchmarks.gpu import gpt2 as case
from benchmarks.gpu.training import pytorch_device, train_pytorch
from benchmarks.nanogpt.pytorch import Block, load
from benchmarks.peer import Peer


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        features, heads = case.SIZES["features"], case.SIZES["heads"]
        settings = {"causal": True, "bias": True, "epsilon": 1e-5, "gelu": "tanh"}
        self.tokens = nn.Embedding(case.VOCABULARY, features)
        self.positions = nn.Embedding(case.CONTEXT, features)
        self.blocks = nn.ModuleList(Block(features, heads, **settings) for _ in range(case.SIZES["layers"]))
        self.norm = nn.LayerNorm(features)

    def forward(self, ids, targets):
        x = self.tokens(ids) + self.positions.weight[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        logits = functional.linear(self.norm(x), self.tokens.weight)
        return functional.cross_entropy(logits.float().view(-1, case.VOCABULARY), targets.reshape(-1))


def unstack(blocks, layer):
    if isinstance(blocks, dict):
        return {name: unstack(part, layer) for name, part in blocks.items()}
    return blocks[layer]


def prepare(weights, ids):
    device = pytorch_device()
    network = GPT()
    load(network, weights | {"blocks": [unstack(weights["blocks"], i) for i in range(case.SIZES["layers"])]})
    network = network.to(device)
    tokens = torch.tensor(ids).long().to(device)
    x, y = tokens[:, :-1], tokens[:, 1:]
    groups = [
        {"params": [p for p in network.parameters() if p.dim() >= 2], "weight_decay": case.DECAY},
        {"params": [p for p in network.parameters() if p.dim() < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=case.RATE, betas=case.BETAS, fused=device.type == "cuda")
    compiled = torch.compile(network)
    return Peer(train_pytorch(lambda: compiled(x, y), optimizer, device))
