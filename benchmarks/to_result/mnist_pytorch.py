"""PyTorch: `python -m benchmarks.to_result.mnist_pytorch SEED` prints the test accuracy."""

import gzip
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as functional
from torch import nn

from benchmarks.to_result import MNIST

FIRST, SECOND = MNIST["channels"]


def read(name, header):
    folder = Path(os.environ.get("JAXNETS_DATA", "data")) / "mnist"
    return np.frombuffer(gzip.decompress((folder / f"{name}-ubyte.gz").read_bytes()), np.uint8, offset=header)


def load(part):
    images = read(f"{part}-images-idx3", 16).reshape(-1, 1, 28, 28)
    labels = read(f"{part}-labels-idx1", 8)
    return torch.tensor(images).float() / 255, torch.tensor(labels).long()


def main(seed):
    torch.manual_seed(seed)
    images, labels = load("train")
    network = nn.Sequential(
        nn.Conv2d(1, FIRST, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(FIRST, SECOND, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 4 * SECOND, 10),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=MNIST["rate"])
    steps = MNIST["epochs"] * len(images) // MNIST["batch"]
    rise = MNIST["warm_up"] * steps
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / rise, (steps - step) / (steps - rise))
    )
    for _ in range(MNIST["epochs"]):
        for batch in torch.randperm(len(images)).split(MNIST["batch"]):
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        test_images, test_labels = load("t10k")
        found = torch.cat([network(part).argmax(1) for part in test_images.split(500)])
    return (found == test_labels).float().mean().item()


if __name__ == "__main__":
    print(main(int(sys.argv[1])))
