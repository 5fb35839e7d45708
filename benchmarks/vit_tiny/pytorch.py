"""PyTorch, eager: patches by a convolution, blocks of scaled_dot_product_attention, as in timm."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks import vit_tiny as case
from benchmarks.nanogpt.pytorch import Block, load
from benchmarks.peer import Peer, cycle


class ViT(nn.Module):
    def __init__(self):
        super().__init__()
        settings = {"causal": False, "bias": True, "epsilon": case.EPSILON}
        self.patches = nn.Conv2d(3, case.FEATURES, case.PATCH, case.PATCH)
        self.class_token = nn.Parameter(torch.zeros(1, 1, case.FEATURES))
        self.positions = nn.Parameter(torch.zeros(1, case.POSITIONS, case.FEATURES))
        self.blocks = nn.Sequential(*(Block(case.FEATURES, case.HEADS, **settings) for _ in range(case.LAYERS)))
        self.norm = nn.LayerNorm(case.FEATURES, case.EPSILON)
        self.fc = nn.Linear(case.FEATURES, case.CLASSES)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], dim=1) + self.positions
        return self.fc(self.norm(self.blocks(x)[:, 0]))


def prepare(weights, images, labels, compiled=lambda network: network):
    network = ViT()
    load(network, weights)
    images = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    batches = [(torch.tensor(x), torch.tensor(y).long()) for x, y in case.batches(images, labels)]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    model, advance = compiled(network), cycle(batches)

    def run(steps):
        for _ in range(steps):
            data, target = advance()
            optimizer.zero_grad()
            value = cross_entropy(model(data), target)
            value.backward()
            optimizer.step()
        return value.item()

    return Peer(run)
