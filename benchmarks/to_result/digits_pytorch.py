"""PyTorch: `python -m benchmarks.to_result.digits_pytorch SEED` prints the test accuracy."""

import sys

import torch
import torch.nn.functional as functional
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from benchmarks.to_result import DIGITS


def main(seed):
    torch.manual_seed(seed)
    raw = load_digits()
    images, labels = torch.tensor(raw.images).float()[:, None] / 16, torch.tensor(raw.target).long()
    rest, test = train_test_split(range(len(labels)), test_size=359, random_state=seed, stratify=labels)
    train = torch.tensor(rest)[:1258]
    network = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout2d(0.25),
        nn.Flatten(),
        nn.Linear(1024, 128),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(128, 10),
    )
    steps = DIGITS["epochs"] * len(train) // DIGITS["batch"]
    optimizer = torch.optim.Adam(network.parameters(), lr=DIGITS["rate"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    order = torch.cat([train[torch.randperm(len(train))] for _ in range(DIGITS["epochs"])])
    for batch in order.split(DIGITS["batch"])[:steps]:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(images[batch]), labels[batch]).backward()
        optimizer.step()
        schedule.step()
    network.eval()
    with torch.no_grad():
        return (network(images[test]).argmax(1) == labels[test]).float().mean().item()


if __name__ == "__main__":
    print(main(int(sys.argv[1])))
