"""PyTorch, eager."""

import torch
from torch import nn

from benchmarks import tiny_mlp as case
from benchmarks.peer import Peer, cycle


def prepare(weights, x, y, *, transform=lambda network: network):
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())
    with torch.no_grad():
        for i, layer in enumerate(model[::2], start=1):
            layer.weight.copy_(torch.tensor(weights[f"fc{i}/kernel"].T))
            layer.bias.copy_(torch.tensor(weights[f"fc{i}/bias"]))
    batches = [(torch.tensor(a), torch.tensor(b)[:, None]) for a, b in case.batches(x, y)]
    loss_fn = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    advance = cycle(batches)
    trained = transform(model)

    def run(steps):
        for _ in range(steps):
            data, target = advance()
            value = loss_fn(trained(data), target)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        return value.item()

    return Peer(run)
