"""What the experiments on MNIST have in common: the data."""

from __future__ import annotations

import dataclasses

from jaxnets.data import DataSet, Split, mnist
from jaxnets.experiment import TrainingSettings
from jaxnets.experiment.classifier import random_images


@dataclasses.dataclass(frozen=True)
class MnistSettings(TrainingSettings):
    """Settings that the experiments share."""

    learning_rate: float = 1e-3
    """Adam's learning rate at first; it falls to zero along a cosine."""
    validation: float = 0.05
    """Share of the 60,000 training images that is only looked at."""


def load(config: MnistSettings) -> DataSet:
    """The images, or noise for `--smoke`."""
    if config.smoke:
        return random_images((28, 28, 1), tuple("0123456789"), 2 * config.batch_size)
    return mnist(config.seed, validation=config.validation)


def load_digits(smoke: bool) -> tuple[Split, Split]:
    """All 60,000 images to train on and the 10,000 of the test, or noise for `--smoke`."""
    if smoke:
        noise = random_images((28, 28, 1), tuple("0123456789"), 96)
        return noise.train, noise.test
    data = mnist(validation=0)
    return data.train, data.test
