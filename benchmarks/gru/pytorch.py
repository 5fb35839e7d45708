"""PyTorch: nn.GRU, eager, whose second biases of reset and update start at zero."""

import torch

from benchmarks import gru as case
from benchmarks.peer import Peer, cycle

NAMES = {"input_kernel": "weight_ih", "hidden_kernel": "weight_hh", "bias": "bias_ih", "hidden_bias": "bias_hh"}


def load(model, weights):
    tensors = {}
    for path, array in case.two_biases(weights).items():
        layer, direction, name = path.split("/")
        suffix = "_reverse" if direction == "backward" else ""
        tensors[f"{NAMES[name]}_l{layer}{suffix}"] = torch.tensor(array.T)
    model.load_state_dict(tensors)


def prepare(weights, x, y, *, transform=lambda model: model):
    model = torch.nn.GRU(case.UNITS, case.UNITS, case.LAYERS, batch_first=True, bidirectional=True)
    load(model, weights)
    batches = [(torch.tensor(a), torch.tensor(b)) for a, b in case.batches(x, y)]
    optimizer = torch.optim.SGD(model.parameters(), lr=case.RATE)
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
