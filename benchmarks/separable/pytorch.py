"""PyTorch, eager, contiguous."""

import torch.nn.functional as functional
from torch import nn

from benchmarks import separable as case
from benchmarks.resnet20.pytorch import train


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.depthwise = nn.Conv2d(before, before, 3, stride, padding=1, groups=before, bias=False)
        self.norm1 = nn.BatchNorm2d(before)
        self.pointwise = nn.Conv2d(before, after, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)

    def forward(self, x):
        x = functional.relu(self.norm1(self.depthwise(x)))
        return functional.relu(self.norm2(self.pointwise(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, case.WIDTH, 3, padding=1)
        self.blocks, before = nn.Sequential(), case.WIDTH
        for after, stride in case.BLOCKS:
            self.blocks.append(Block(before, after, stride))
            before = after
        self.fc = nn.Linear(before, 10)

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


def prepare(weights, images, labels, **settings):
    return train(case, Net(), weights, images, labels, **settings)
