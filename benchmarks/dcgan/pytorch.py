"""PyTorch, eager, contiguous: its spectral_norm; the generator's update computes no other gradients."""

import torch
import torch.nn.functional as functional
from torch import nn
from torch.nn.utils import spectral_norm

from benchmarks import dcgan as case
from benchmarks.nanogpt.blocks import nested
from benchmarks.nanogpt.pytorch import load
from benchmarks.peer import Peer, cycle


class Block(nn.Module):
    """A convolution, and batch norm if it is of the generator."""

    def __init__(self, conv, norm=None):
        super().__init__()
        self.conv = conv
        if norm is not None:
            self.norm = norm


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        wide = 2 * case.WIDTH
        self.fc = nn.Linear(case.NOISE, 7 * 7 * wide, bias=False)
        self.norm = nn.BatchNorm2d(wide)
        conv = nn.ConvTranspose2d(wide, case.WIDTH, 4, 2, padding=1, bias=False)
        self.blocks = nn.ModuleList([Block(conv, nn.BatchNorm2d(case.WIDTH))])
        self.out = nn.ConvTranspose2d(case.WIDTH, 1, 4, 2, padding=1)

    def forward(self, noise):
        x = functional.relu(self.norm(self.fc(noise).view(len(noise), -1, 7, 7)))
        for block in self.blocks:
            x = functional.relu(block.norm(block.conv(x)))
        return torch.tanh(self.out(x))


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        sizes = ((1, case.WIDTH), (case.WIDTH, 2 * case.WIDTH))
        self.blocks = nn.ModuleList(Block(nn.Conv2d(*channels, 4, 2, padding=1)) for channels in sizes)
        self.out = nn.Conv2d(2 * case.WIDTH, 1, 7)

    def forward(self, x):
        for block in self.blocks:
            x = functional.leaky_relu(block.conv(x), 0.2)
        return self.out(x).flatten()


def make_networks(weights):
    weights = nested(weights)
    discriminator, generator = Discriminator(), Generator()
    vectors = [
        layer.pop("u") for layer in (*(block["conv"] for block in weights["d"]["blocks"].values()), weights["d"]["out"])
    ]
    fc = weights["g"]["fc"]["kernel"].reshape(case.NOISE, 7, 7, -1)  # here channels come before positions
    weights["g"]["fc"]["kernel"] = fc.transpose(0, 3, 1, 2).reshape(case.NOISE, -1)
    load(discriminator, weights["d"])
    load(generator, weights["g"])
    layers = [*(block.conv for block in discriminator.blocks), discriminator.out]
    for layer, u in zip(layers, vectors, strict=True):
        spectral_norm(layer).weight_u.copy_(torch.tensor(u))
    return discriminator, generator


def prepare(weights, *data, memory_format=torch.contiguous_format, transform=lambda network: network):
    networks = [network.to(memory_format=memory_format) for network in make_networks(weights)]
    d_adam, g_adam = (
        torch.optim.Adam(network.parameters(), lr=case.RATE, betas=(case.BETA, 0.999)) for network in networks
    )
    discriminator, (discriminate, generate) = networks[0], map(transform, networks)
    batches = []
    for images, *noise in case.batches(*data):
        x = torch.tensor(images).permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
        batches.append((x, *map(torch.tensor, noise)))
    advance = cycle(batches)

    def run(steps):
        for _ in range(steps):
            images, d_noise, g_noise = advance()
            with torch.no_grad():
                fakes = generate(d_noise)
            d_adam.zero_grad()
            d_value = (functional.relu(1 - discriminate(images)) + functional.relu(1 + discriminate(fakes))).mean()
            d_value.backward()
            d_adam.step()
            discriminator.requires_grad_(False)
            g_adam.zero_grad()
            g_value = -discriminate(generate(g_noise)).mean()
            g_value.backward()
            g_adam.step()
            discriminator.requires_grad_(True)
        return d_value.item() + g_value.item()

    return Peer(run)
