"""PyTorch, eager, contiguous: GroupNorm, one product for queries, keys and values, scaled_dot_product_attention."""

import math

import torch
import torch.nn.functional as functional
from torch import nn

from benchmarks import diffusion_unet as case
from benchmarks.nanogpt.blocks import nested
from benchmarks.nanogpt.pytorch import Attention, load
from benchmarks.peer import Peer, cycle


def conv(before, after, stride=1):
    return nn.Conv2d(before, after, 3, stride, padding=1)


class Residual(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(case.GROUPS, before), conv(before, after)
        self.shift = nn.Linear(4 * case.FEATURES, after)
        self.norm2, self.conv2 = nn.GroupNorm(case.GROUPS, after), conv(after, after)
        self.shortcut = nn.Conv2d(before, after, 1) if before != after else nn.Identity()

    def forward(self, x, condition):
        h = self.conv1(functional.silu(self.norm1(x)))
        h = h + self.shift(functional.silu(condition))[:, :, None, None]
        return self.shortcut(x) + self.conv2(functional.silu(self.norm2(h)))


class Attend(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm = nn.GroupNorm(case.GROUPS, channels)
        self.attention = Attention(channels, 1, causal=False, bias=True)

    def forward(self, x):
        rows = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.attention(rows).transpose(1, 2).reshape(x.shape)


class Middle(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.residual1, self.residual2 = Residual(channels, channels), Residual(channels, channels)
        self.attention = Attend(channels)

    def forward(self, x, condition):
        return self.residual2(self.attention(self.residual1(x, condition)), condition)


class Block(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.residual = Residual(before, after)

    def forward(self, x, condition):
        return self.residual(x, condition)


class Level(nn.Module):
    """The blocks of one size, and the convolution to the next one."""

    def __init__(self, befores, after, resize=None):
        super().__init__()
        self.blocks = nn.ModuleList(Block(before, after) for before in befores)
        if resize is not None:
            self.resize = resize


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        high, low, wide = case.FEATURES, 2 * case.FEATURES, 4 * case.FEATURES
        self.time1, self.time2 = nn.Linear(high, wide), nn.Linear(wide, wide)
        self.classes = nn.Embedding(case.CLASSES + 1, wide)
        self.first = conv(case.CHANNELS, high)
        self.down = nn.ModuleList([Level([high], high, conv(high, high, 2)), Level([high], low)])
        self.middle = Middle(low)
        self.up = nn.ModuleList([Level([2 * low, low + high], low, conv(low, low)), Level([low + high, low], high)])
        self.norm, self.last = nn.GroupNorm(case.GROUPS, high), conv(high, case.CHANNELS)
        half = high // 2
        self.register_buffer("waves", torch.exp(-math.log(1e4) * torch.arange(half) / half), persistent=False)

    def forward(self, x, t, classes):
        angles = t[:, None] * self.waves
        condition = self.time1(torch.cat([angles.sin(), angles.cos()], dim=1))
        condition = self.time2(functional.silu(condition)) + self.classes(classes)
        kept = [self.first(x)]
        kept.append(self.down[0].blocks[0](kept[-1], condition))
        kept.append(self.down[0].resize(kept[-1]))
        kept.append(self.down[1].blocks[0](kept[-1], condition))
        x = self.middle(kept[-1], condition)
        for level in self.up:
            for block in level.blocks:
                x = block(torch.cat([x, kept.pop()], dim=1), condition)
            if kept:
                x = level.resize(functional.interpolate(x, scale_factor=2))
        return self.last(functional.silu(self.norm(x)))


def prepare(weights, *data, memory_format=torch.contiguous_format, transform=lambda network: network):
    network = UNet()
    load(network, nested(weights))
    network = network.to(memory_format=memory_format)
    images, noise, t, classes = map(torch.tensor, data)
    images, noise = (x.permute(0, 3, 1, 2).contiguous(memory_format=memory_format) for x in (images, noise))
    parts = (images, noise, t.long(), classes.long())
    advance = cycle(list(zip(*(part.split(case.BATCH) for part in parts), strict=True)))
    optimizer, trained = torch.optim.Adam(network.parameters(), lr=case.RATE), transform(network)
    shares = torch.tensor(case.shares())

    def run(steps):
        for _ in range(steps):
            x, noise, t, classes = advance()
            left = shares[t][:, None, None, None]
            signal, rest = left.sqrt(), (1 - left).sqrt()
            optimizer.zero_grad()
            predicted = trained(signal * x + rest * noise, t, classes)
            value = functional.mse_loss(predicted, signal * noise - rest * x)
            value.backward()
            nn.utils.clip_grad_norm_(network.parameters(), case.CLIP)
            optimizer.step()
        return value.item()

    return Peer(run)
