"""PyTorch, eager: patches by convolutions, blocks of scaled_dot_product_attention."""

import math

import torch
import torch.nn.functional as functional
from torch import nn

from benchmarks import clip as case
from benchmarks.nanogpt import pytorch
from benchmarks.peer import Peer, cycle
from benchmarks.segmentation_unet.pytorch import make_adamw


def quick_gelu(x):
    return x * torch.sigmoid(1.702 * x)


class Block(pytorch.Block):
    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.linear2(quick_gelu(self.linear1(self.norm2(x))))


def make_blocks(*, causal):
    settings = {"causal": causal, "bias": True, "epsilon": 1e-5}
    return nn.Sequential(*(Block(case.FEATURES, case.HEADS, **settings) for _ in range(case.LAYERS)))


class Half(nn.Module):
    """What images and texts have in common."""

    def __init__(self, positions, *, causal):
        super().__init__()
        self.positions = nn.Embedding(positions, case.FEATURES)
        self.blocks, self.norm = make_blocks(causal=causal), nn.LayerNorm(case.FEATURES)
        self.projection = nn.Linear(case.FEATURES, case.FEATURES, bias=False)

    def project(self, x):
        return functional.normalize(self.projection(self.norm(x)), dim=1)


class Unit(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(before, after, 3, 2, bias=False), nn.LayerNorm(after)

    def forward(self, x):
        y = self.conv(functional.pad(x, (0, 1, 0, 1)))  # "SAME" of an even size
        return quick_gelu(self.norm(y.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class ImageNetwork(Half):
    def __init__(self):
        halved = case.PATCH * 2 ** len(case.STEM)
        super().__init__(math.prod(case.SIZE) // halved**2 + 1, causal=False)
        self.stem = nn.Sequential(*map(Unit, (3, *case.STEM[:-1]), case.STEM))
        self.patches = nn.Conv2d(case.STEM[-1], case.FEATURES, case.PATCH, case.PATCH, bias=False)
        self.class_token = nn.Parameter(torch.zeros(case.FEATURES))
        self.norm_first = nn.LayerNorm(case.FEATURES)

    def forward(self, x):
        x = self.patches(self.stem(x)).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), 1, -1), x], dim=1) + self.positions.weight
        return self.project(self.blocks(self.norm_first(x))[:, 0])


class TextNetwork(Half):
    def __init__(self):
        super().__init__(case.CONTEXT, causal=True)
        self.tokens = nn.Embedding(case.VOCABULARY, case.FEATURES)

    def forward(self, ids):
        x = self.blocks(self.tokens(ids) + self.positions.weight)
        return self.project(x[torch.arange(len(x)), (ids == case.END).int().argmax(1)])


class CLIP(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.text = ImageNetwork(), TextNetwork()
        self.log_scale = nn.Parameter(torch.zeros(()))

    def forward(self, images, ids):
        scale = self.log_scale.clamp(max=math.log(case.LARGEST_SCALE)).exp()
        return scale * self.image(images) @ self.text(ids).T


def prepare(weights, images, ids, *, transform=lambda network: network):
    network = CLIP()
    pytorch.load(network, weights)
    x = torch.tensor(images).permute(0, 3, 1, 2).contiguous()
    batches = list(zip(x.split(case.BATCH), torch.tensor(ids).long().split(case.BATCH), strict=True))
    optimizer, trained, advance = make_adamw(network, case), transform(network), cycle(batches)
    pairs = torch.arange(case.BATCH)

    def run(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            cosines = trained(*advance())
            value = (functional.cross_entropy(cosines, pairs) + functional.cross_entropy(cosines.T, pairs)) / 2
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), case.CLIP)
            optimizer.step()
        return value.item()

    return Peer(run)
