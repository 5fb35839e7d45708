"""Train a small convolutional network on the handwritten digits that ship inside scikit-learn; no download.

A run takes about 12 s on two cores. Its folder has settings, metrics, result, curves, confusion matrix and mistakes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from jaxnets.console import library_command
from jaxnets.data import digits
from jaxnets.experiment import Findings, TrainingSettings, in_run_folder, runner, train_classifier
from jaxnets.experiment.classifier import adam_with_cosine, first_examples
from jaxnets.models import SmallCNNConfig, small_cnn
from jaxnets.report import RunFolder


@dataclasses.dataclass(frozen=True)
class Config(TrainingSettings):
    """Settings of the experiment."""

    seed: int = 0
    """Of the split, the initial values, the order of the examples and dropout."""
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 2e-3
    """Adam's learning rate at first; it falls to zero along a cosine."""


@in_run_folder(smoke={"epochs": 1})
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, evaluate, and draw."""
    data = digits(config.seed)
    if config.smoke:
        data = first_examples(data, 2 * config.batch_size)
    model = small_cnn(SmallCNNConfig(height=8, width=8, channels=1, classes=len(data.classes)))
    return train_classifier(config, folder, model, adam_with_cosine(config, data), data)


def main(words: Sequence[str] | None = None) -> None:
    """The command `jaxnets train`."""
    runner.main(Config, run, __doc__, words=words, command=f"{library_command()} train")
