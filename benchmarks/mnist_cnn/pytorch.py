"""PyTorch, eager, as its own MNIST example trains it."""

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
    tensors = {
        path.replace("/", ".").replace("kernel", "weight"): torch.tensor(array)
        for path, array in case.channels_first(weights).items()
    }
    network.load_state_dict(tensors)


def prepare(weights, images, labels, *, memory_format=torch.contiguous_format, transform=lambda network: network):
    network = Net()
    load(network, weights)
    network = network.to(memory_format=memory_format)
    x = torch.tensor(images.transpose(0, 3, 1, 2)).contiguous(memory_format=memory_format)
    y = torch.tensor(labels).long()
    batches = list(zip(x.split(case.BATCH), y.split(case.BATCH), strict=True))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    advance = cycle(batches)
    network.train(case.DROPOUT)
    trained = transform(network)

    def run(steps):
        for _ in range(steps):
            data, target = advance()
            optimizer.zero_grad()
            value = functional.nll_loss(trained(data), target)
            value.backward()
            optimizer.step()
        return value.item()

    return Peer(run)
