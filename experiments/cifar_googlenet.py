"""GoogLeNet in a form for small images on CIFAR-10, with its two auxiliary heads.

With --full it is the network at its full width on the schedule of an accelerator.

expected:  test accuracy 0.576 +- 0.006 (mean and deviation over the seeds 0 to 2; 0.579 with seed 0), an eighth of the
           width, 5 epochs on 10,000 images; --full has not been measured
time:      9 min of processor time
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.cifar_googlenet --seed 0
"""

from __future__ import annotations

import dataclasses
from typing import Any

from experiments import cifar, command_line
from jaxnets.models import GoogLeNetConfig, googlenet, googlenet_loss


@dataclasses.dataclass(frozen=True)
class Config(cifar.Settings):
    """Settings of the experiment; the defaults are for two cores, `--full` is for a GPU or TPU."""

    width: float = 0.125
    """A factor for the channels of all convolutions."""


def run(config: Config) -> dict[str, Any]:
    """Train, evaluate, and write the run folder; returns what is in its result.json."""
    config = cifar.chosen(config, width=1.0, learning_rate=0.1)
    model = googlenet(GoogLeNetConfig(10, small_images=True, width=config.width))
    return cifar.train("cifar_googlenet", config, model, loss_function=googlenet_loss)


if __name__ == "__main__":
    command_line.main(Config, run, __doc__)
