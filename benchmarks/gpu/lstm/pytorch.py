"""PyTorch: nn.LSTM, which is cuDNN's."""

import torch

from benchmarks.gpu import lstm as case
from benchmarks.gpu.training import pytorch_device
from benchmarks.lstm.pytorch import make_model
from benchmarks.peer import Peer


def prepare(weights, x, y):
    device = pytorch_device()
    model = make_model(weights, case.UNITS).to(device)
    inputs, targets = (torch.tensor(array).to(device) for array in (x, y))
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=case.RATE)

    def run(steps):
        for _ in range(steps):
            optimizer.zero_grad()
            value = torch.nn.functional.mse_loss(model(inputs)[0], targets)
            value.backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return value.item()

    return Peer(run)
