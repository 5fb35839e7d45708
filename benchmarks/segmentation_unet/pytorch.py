"""PyTorch, eager, contiguous."""

import torch
import torch.nn.functional as functional
from torch import nn

from benchmarks import segmentation_unet as case
from benchmarks.nanogpt.blocks import nested
from benchmarks.nanogpt.pytorch import load
from benchmarks.peer import Peer, cycle


class Unit(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x):
        return functional.relu(self.norm(self.conv(x)))


class Pair(nn.Module):
    def __init__(self, before, after):
        super().__init__()
        self.unit1, self.unit2 = Unit(before, after), Unit(after, after)

    def forward(self, x):
        return self.unit2(self.unit1(x))


class Up(nn.Module):
    def __init__(self, below, here):
        super().__init__()
        self.enlarge, self.pair = nn.ConvTranspose2d(below, here, 2, 2), Pair(2 * here, here)

    def forward(self, x, skip):
        return self.pair(torch.cat([skip, self.enlarge(x)], dim=1))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [case.WIDTH * 2**level for level in range(case.LEVELS + 1)]
        self.down = nn.ModuleList(map(Pair, (3, *widths[:-1]), widths))
        self.up = nn.ModuleList(map(Up, widths[:0:-1], widths[-2::-1]))
        self.out = nn.Conv2d(case.WIDTH, case.CLASSES, 1)

    def forward(self, x):
        skips = []
        for level, pair in enumerate(self.down):
            if level:
                skips.append(x)
                x = functional.max_pool2d(x, 2)
            x = pair(x)
        for up in self.up:
            x = up(x, skips.pop())
        return self.out(x)


def make_adamw(network, case):
    parameters = list(network.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": case.DECAY},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=case.RATE)


def prepare(weights, images, labels, *, memory_format=torch.contiguous_format, transform=lambda network: network):
    network = UNet()
    load(network, nested(weights))
    network = network.to(memory_format=memory_format)
    x = torch.tensor(images).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
    batches = list(zip(x.split(case.BATCH), torch.tensor(labels).long().split(case.BATCH), strict=True))
    optimizer, trained, advance = make_adamw(network, case), transform(network), cycle(batches)
    settings = {"weight": torch.tensor(case.CLASS_WEIGHTS[:-1]), "ignore_index": case.CLASSES}

    def run(steps):
        for _ in range(steps):
            images, labels = advance()
            optimizer.zero_grad()
            value = functional.cross_entropy(trained(images), labels, **settings)
            value.backward()
            optimizer.step()
        return value.item()

    return Peer(run)
