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
from pathlib import Path
from typing import Any

from experiments import cifar, command_line
from jaxnets.models import googlenet, googlenet_loss


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the experiment; the defaults are for two cores, `--full` is for a GPU or TPU."""

    seed: int = 0
    """Of the parts, the initial values, the order of the examples and the augmentation."""
    width: float = 0.125
    """A factor for the channels of all convolutions."""
    epochs: int = 5
    """How often the network sees every example."""
    batch_size: int = 128
    """Examples a step."""
    learning_rate: float = 0.1
    """The largest one, reached after a fifth of the run; from there it falls to zero."""
    weight_decay: float = 5e-4
    """Of the kernels, in the loss."""
    train_examples: int = 10_000
    """How many of the 45,000 training images are used."""
    bfloat16: bool = False
    """Whether to compute in bfloat16."""
    full: bool = False
    """Take the settings in FULL instead of those given."""
    out: Path | None = None
    """The run folder; by default runs/cifar_googlenet/<time>-seed<seed>."""
    smoke: bool = False
    """Take two steps on random images only, to see that everything runs; needs no files."""


FULL: dict[str, Any] = {
    "width": 1.0,
    "epochs": 100,
    "batch_size": 128,
    "learning_rate": 0.1,
    "weight_decay": 5e-4,
    "train_examples": 45_000,
}


def run(config: Config) -> dict[str, Any]:
    """Train, evaluate, and write the run folder; returns what is in its result.json."""
    if config.full:
        config = dataclasses.replace(config, **FULL)
    if config.smoke:
        config = dataclasses.replace(config, epochs=1, batch_size=8)
    model = googlenet(10, small_images=True, width=config.width)
    return cifar.train("cifar_googlenet", config, model, loss_function=googlenet_loss)


if __name__ == "__main__":
    command_line.main(Config, run, __doc__)
