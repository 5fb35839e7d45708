"""What the experiments on CIFAR-10 have in common: the data, the augmentation, and the schedule."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from jaxnets.config import PositiveInt
from jaxnets.data import DataSet, augment, cifar10, fit_standardization
from jaxnets.data.cifar_classes import CIFAR10_CLASSES
from jaxnets.experiment import Findings, TrainingSettings
from jaxnets.experiment.classifier import random_images, train_classifier
from jaxnets.model import Model
from jaxnets.regularizers import decay_mask
from jaxnets.report import RunFolder
from jaxnets.training import compute_in, steps_per_epoch

_WARM_UP = 0.2


@dataclasses.dataclass(frozen=True)
class CifarSettings(TrainingSettings):
    """Settings that the experiments share; the defaults are for two cores, `--full` is for a GPU or TPU."""

    seed: int = 0
    """Of the split, the initial values, the order of the examples and the augmentation."""
    epochs: int = 5
    batch_size: int = 128
    learning_rate: float = 0.1
    """The largest one, reached after a fifth of the run; from there it falls to zero."""
    weight_decay: float = 5e-4
    """Of the kernels, in the loss."""
    train_examples: PositiveInt = 10_000
    """How many of the 45,000 training images are used."""
    bfloat16: bool = False
    """Whether to compute in bfloat16."""
    full: bool = False
    """Take the settings of an accelerator instead of those given."""


FULL: dict[str, Any] = {"epochs": 100, "batch_size": 128, "weight_decay": 5e-4, "train_examples": 45_000}
"""The schedule of an accelerator."""
SMOKE = {"epochs": 1, "batch_size": 8}


def load(config: CifarSettings) -> DataSet:
    """The images, standardized by the mean and deviation of each channel of those that are trained on."""
    if config.smoke:
        return random_images((32, 32, 3), tuple(CIFAR10_CLASSES), 2 * config.batch_size)
    data = cifar10(config.seed)
    images, labels = data.train
    places = np.sort(np.random.default_rng(config.seed).permutation(len(images))[: config.train_examples])
    train = images[places], labels[places]
    standardize = fit_standardization(train[0])
    splits = [(standardize(x), y) for x, y in (train, data.validation, data.test)]
    return DataSet(splits[0], splits[1], splits[2], data.classes)


def make_optimizer(config: CifarSettings, examples: int) -> optax.GradientTransformation:
    """SGD with Nesterov momentum 0.9; the rate rises linearly for a fifth of the run and falls linearly to zero."""
    steps = config.epochs * steps_per_epoch(examples, config.batch_size)
    rising = max(1, int(_WARM_UP * steps))
    rate = optax.join_schedules(
        [
            optax.linear_schedule(0.0, config.learning_rate, rising),
            optax.linear_schedule(config.learning_rate, 0.0, max(1, steps - rising)),
        ],
        [rising],
    )
    return optax.chain(
        optax.add_decayed_weights(config.weight_decay, mask=decay_mask), optax.sgd(rate, momentum=0.9, nesterov=True)
    )


def train(config: CifarSettings, folder: RunFolder, model: Model, **settings: Any) -> Findings:
    """Train on images that are shifted by up to 4 pixels and mirrored, evaluate, and draw."""
    data = load(config)
    if config.bfloat16:
        model = compute_in(jnp.bfloat16, model)
    optimizer = make_optimizer(config, len(data.train[0]))
    augmentation = augment.chain(functools.partial(augment.random_crop, padding=4), augment.random_flip)
    return train_classifier(config, folder, model, optimizer, data, augmentation=augmentation, **settings)
