"""PyTorch, eager, as its own MNIST example trains it."""

import numpy as np
import torch
import torch.nn.functional as functional
from torch import nn

from benchmarks import mnist_cnn as case
from benchmarks.peer import Peer, cycle


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, 1)
        self.conv2 = nn.Conv2d(32, 64, 3, 1)
        self.dropout1 = nn.Dropout2d(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        x = functional.max_pool2d(x, 2)
        x = self.dropout1(x)
        x = torch.flatten(x, 1)
        x = functional.relu(self.fc1(x))
        x = self.dropout2(x)
        return functional.log_softmax(self.fc2(x), dim=1)


def load(network, weights):
    kernels = dict(weights)
    # PyTorch flattens channel by channel.
    kernels["fc1/kernel"] = weights["fc1/kernel"].reshape(12, 12, 64, 128).transpose(2, 0, 1, 3).reshape(9216, 128)
    with torch.no_grad():
        for name, layer in network.named_children():
            if f"{name}/kernel" in kernels:
                kernel = kernels[f"{name}/kernel"]
                layer.weight.copy_(torch.tensor(kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T))
                layer.bias.copy_(torch.tensor(kernels[f"{name}/bias"]))


def prepare(weights, images, labels):
    network = Net()
    load(network, weights)
    x = torch.tensor(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    y = torch.tensor(labels).long()
    batches = list(zip(x.split(case.BATCH), y.split(case.BATCH), strict=True))
    network.eval()
    with torch.no_grad():
        loss = functional.nll_loss(network(batches[0][0]), batches[0][1]).item()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    advance = cycle(batches)
    network.train()

    def run(steps):
        for _ in range(steps):
            data, target = advance()
            optimizer.zero_grad()
            functional.nll_loss(network(data), target).backward()
            optimizer.step()

    return Peer(loss, run)
