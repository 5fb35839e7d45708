"""PyTorch, eager, as its own example trains it."""

import torch
import torch.nn.functional as functional
from torch import nn

from benchmarks import vae as case
from benchmarks.peer import Peer, cycle


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        for name, sizes in case.LAYERS.items():
            self.add_module(name, nn.Linear(*sizes))

    def forward(self, x):
        hidden = functional.relu(self.hidden(x))
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        noise = torch.randn_like(mean) if self.training else 0
        z = mean + torch.exp(log_variance / 2) * noise
        return self.out(functional.relu(self.decoder(z))), mean, log_variance


def elbo(logits, mean, log_variance, images):
    reconstruction = functional.binary_cross_entropy_with_logits(logits, images, reduction="sum")
    divergence = -0.5 * (1 + log_variance - mean.pow(2) - log_variance.exp()).sum()
    return (reconstruction + divergence) / len(images)


def prepare(weights, images, *, transform=lambda network: network):
    network = VAE()
    network.load_state_dict(
        {path.replace("/", ".").replace("kernel", "weight"): torch.tensor(array.T) for path, array in weights.items()}
    )
    batches = torch.tensor(images).split(case.BATCH)
    optimizer = torch.optim.Adam(network.parameters(), lr=case.RATE)
    advance = cycle(batches)
    trained = transform(network)

    def run(steps):
        for _ in range(steps):
            x = advance()
            optimizer.zero_grad()
            value = elbo(*trained(x), x)
            value.backward()
            optimizer.step()
        return value.item()

    return Peer(run)
