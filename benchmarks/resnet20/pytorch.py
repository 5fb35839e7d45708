"""PyTorch, eager, contiguous."""

import torch
import torch.nn.functional as functional
from torch import nn

from benchmarks import resnet20 as case
from benchmarks.peer import Peer, cycle, outputs_first


class ConvNorm(nn.Module):
    def __init__(self, before, after, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x):
        return self.norm(self.conv(x))


class Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1 = ConvNorm(before, after, stride)
        self.conv2 = ConvNorm(after, after)
        self.stride, self.missing = stride, (after - before) // 2

    def forward(self, x):
        y = self.conv2(functional.relu(self.conv1(x)))
        if self.missing:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.missing, self.missing))
        return functional.relu(y + x)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.blocks, before = ConvNorm(3, case.WIDTH), nn.Sequential(), case.WIDTH
        for after, stride in case.BLOCKS:
            self.blocks.append(Block(before, after, stride))
            before = after
        self.fc = nn.Linear(before, 10)

    def forward(self, x):
        x = self.blocks(functional.relu(self.stem(x)))
        return self.fc(x.mean((2, 3)))


def load(network, weights):
    tensors = {
        path.replace("/", ".").replace("kernel", "weight").replace("scale", "weight"): torch.tensor(array)
        for path, array in outputs_first(weights).items()
    }
    network.load_state_dict(tensors, strict=False)  # the running statistics keep PyTorch's initial values


def train(
    case, network, weights, images, labels, *, memory_format=torch.contiguous_format, transform=lambda network: network
):
    """The program after the network; `transform` is what trains in its place."""
    load(network, weights)
    network = network.to(memory_format=memory_format)
    x = torch.tensor(images.transpose(0, 3, 1, 2)).contiguous(memory_format=memory_format)
    y = torch.tensor(labels).long()
    batches = list(zip(x.split(case.BATCH), y.split(case.BATCH), strict=True))
    optimizer = torch.optim.SGD(network.parameters(), lr=case.RATE, momentum=case.MOMENTUM)
    advance = cycle(batches)
    trained = transform(network)

    def run(steps):
        for _ in range(steps):
            data, target = advance()
            optimizer.zero_grad()
            value = functional.cross_entropy(trained(data), target)
            value.backward()
            optimizer.step()
        return value.item()

    return Peer(run)


def prepare(weights, images, labels, **settings):
    return train(case, ResNet(), weights, images, labels, **settings)
