"""PyTorch, a loop over epochs and batches."""

import torch
from torch import nn

from benchmarks import pima_mlp as case
from benchmarks.peer import Peer


def prepare(weights, x, y, **settings):
    model = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1), nn.Sigmoid())
    with torch.no_grad():
        for i, layer in enumerate(model[::2], start=1):
            layer.weight.copy_(torch.tensor(weights[f"fc{i}/kernel"].T))
            layer.bias.copy_(torch.tensor(weights[f"fc{i}/bias"]))
    inputs, targets = torch.tensor(x), torch.tensor(y)[:, None]
    loss_fn = nn.BCELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001, **settings)

    def run(steps):
        for _ in range(steps // case.STEPS * case.EPOCHS):
            for i in range(0, len(inputs), case.BATCH):
                prediction = model(inputs[i : i + case.BATCH])
                value = loss_fn(prediction, targets[i : i + case.BATCH])
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
        return value.item()

    return Peer(run)
