"""VGG-16 with batch norm on CIFAR-10, one linear layer after the convolutions.

With --full it is the network at its full width on the schedule of an accelerator, whose aim is a test accuracy of 0.92.

expected:  test accuracy 0.670 +- 0.008 (mean and deviation over the seeds 0 to 2; 0.662 with seed 0), a quarter of the
           width, 8 epochs on 10,000 images; --full has not been measured
time:      5 min of processor time
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.cifar_vgg --seed 0
"""

from __future__ import annotations

import dataclasses
from typing import Any

from experiments import cifar, command_line
from jaxnets.models import VGGConfig, vgg


@dataclasses.dataclass(frozen=True)
class Config(cifar.Settings):
    """Settings of the experiment; the defaults are for two cores, `--full` is for a GPU or TPU."""

    depth: int = 16
    """11, 13, 16 or 19 layers."""
    width: float = 0.25
    """A factor for the channels of all convolutions."""
    epochs: int = 8
    """How often the network sees every example."""


def run(config: Config) -> dict[str, Any]:
    """Train, evaluate, and write the run folder; returns what is in its result.json."""
    config = cifar.chosen(config, width=1.0, learning_rate=0.1)
    model = vgg(VGGConfig(config.depth, 10, norm=True, pooled=1, hidden=(), width=config.width))
    return cifar.train("cifar_vgg", config, model)


if __name__ == "__main__":
    command_line.main(Config, run, __doc__)
