"""PyTorch: nn.LSTM, eager."""

import torch

from benchmarks import lstm as case
from benchmarks.peer import Peer, cycle


def make_model(weights, units):
    model = torch.nn.LSTM(units, units, batch_first=True)
    with torch.no_grad():
        model.weight_ih_l0.copy_(torch.tensor(weights["input"].T))
        model.weight_hh_l0.copy_(torch.tensor(weights["hidden"].T))
        model.bias_ih_l0.copy_(torch.tensor(weights["bias"]))
        model.bias_hh_l0.zero_()
    model.bias_hh_l0.requires_grad_(False)
    return model


def prepare(weights, x, y, *, transform=lambda model: model):
    model = make_model(weights, case.UNITS)
    batches = [(torch.tensor(a), torch.tensor(b)) for a, b in case.batches(x, y)]
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=case.RATE)
    advance, trained = cycle(batches), transform(model)

    def run(steps):
        for _ in range(steps):
            inputs, targets = advance()
            optimizer.zero_grad()
            value = torch.nn.functional.mse_loss(trained(inputs)[0], targets)
            value.backward()
            optimizer.step()
        return value.item()

    return Peer(run)
