"""PyTorch, as nanoGPT does it: `python -m benchmarks.to_result.shakespeare_pytorch SEED` prints the validation loss."""

import math
import os
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks import nanogpt as case
from benchmarks.nanogpt.pytorch import GPT, make_optimizer
from benchmarks.to_result import SHAKESPEARE


def tokens():
    text = (Path(os.environ.get("JAXNETS_DATA", "data")) / "text" / "tinyshakespeare.txt").read_text()
    codes = {character: code for code, character in enumerate(sorted(set(text)))}
    ids = np.array([codes[character] for character in text])
    return torch.tensor(ids[: int(0.9 * len(ids))]), torch.tensor(ids[int(0.9 * len(ids)) :])


STEPS, PEAK, WARM_UP = SHAKESPEARE["steps"], SHAKESPEARE["rate"], SHAKESPEARE["warm_up"]


def rate(step):
    if step < WARM_UP:
        return PEAK * step / WARM_UP
    part = 0.5 * (1 + math.cos(math.pi * (step - WARM_UP) / (STEPS - WARM_UP)))
    return PEAK * (0.1 + 0.9 * part)


def start(network):
    for name, parameter in network.named_parameters():
        if parameter.dim() >= 2:
            last = name.endswith(("out.weight", "linear2.weight"))
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * case.LAYERS) if last else 0.02)


def main(seed):
    torch.manual_seed(seed)
    train, validation = tokens()
    network = GPT()
    start(network)
    optimizer = make_optimizer(network)
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        first = torch.randint(len(train) - case.CONTEXT, (case.BATCH, 1)) + torch.arange(case.CONTEXT)
        network(train[first], train[first + 1]).backward()
        nn.utils.clip_grad_norm_(network.parameters(), case.CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    starts = torch.arange(0, len(validation) - case.CONTEXT, case.CONTEXT)[:, None] + torch.arange(case.CONTEXT)
    with torch.no_grad():
        losses = [network(validation[part], validation[part + 1]) * len(part) for part in starts.split(64)]
    return sum(losses).item() / len(starts)


if __name__ == "__main__":
    print(main(int(sys.argv[1])))
