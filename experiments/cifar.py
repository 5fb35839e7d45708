"""What the experiments on CIFAR-10 have in common: the data, the augmentation, and the schedule."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, Protocol

import jax.numpy as jnp
import numpy as np
import optax

from experiments.classifier import random_images, train_classifier
from jaxnets.data import DataSet, augment, cifar10, fit_standardization
from jaxnets.data.cifar_classes import CIFAR10_CLASSES
from jaxnets.model import Model
from jaxnets.regularizers import decay_mask
from jaxnets.train import compute_in, steps_per_epoch

_WARM_UP = 0.2


class Settings(Protocol):
    """What the settings of an experiment on CIFAR-10 have."""

    @property
    def seed(self) -> int:
        """Of everything random."""

    @property
    def epochs(self) -> int:
        """How often the network sees every example."""

    @property
    def batch_size(self) -> int:
        """Examples a step."""

    @property
    def learning_rate(self) -> float:
        """The largest one, reached after a fifth of the run; from there it falls to zero."""

    @property
    def weight_decay(self) -> float:
        """Of the kernels, in the loss."""

    @property
    def train_examples(self) -> int:
        """How many of the training images are used."""

    @property
    def bfloat16(self) -> bool:
        """Whether to compute in bfloat16."""

    @property
    def out(self) -> Path | None:
        """The run folder; None for a new one."""

    @property
    def smoke(self) -> bool:
        """Whether to take two steps on random images only."""


def load(config: Settings) -> DataSet:
    """The images, standardized by the mean and deviation of each channel of those that are trained on."""
    if config.smoke:
        return random_images((32, 32, 3), tuple(CIFAR10_CLASSES), 2 * config.batch_size)
    data = cifar10(config.seed)
    images, labels = data.train
    chosen = np.random.default_rng(config.seed).permutation(len(images))[: config.train_examples]
    train = images[np.sort(chosen)], labels[np.sort(chosen)]
    standardize = fit_standardization(train[0])
    parts = [(standardize(x), y) for x, y in (train, data.validation, data.test)]
    return DataSet(parts[0], parts[1], parts[2], data.classes)


def optimizer(config: Settings, examples: int) -> optax.GradientTransformation:
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


def train(experiment: str, config: Settings, model: Model, **settings: Any) -> dict[str, Any]:
    """Train on images that are shifted by up to 4 pixels and mirrored; returns what is in the result.json."""
    data = load(config)
    if config.bfloat16:
        model = compute_in(jnp.bfloat16, model)
    augmentation = augment.chain(functools.partial(augment.random_crop, padding=4), augment.random_flip)
    return train_classifier(
        experiment, config, model, optimizer(config, len(data.train[0])), data, augmentation=augmentation, **settings
    )
