"""CIFAR-10 in seconds: 9.9 epochs of `experiments.cifar_speedrun` in half precision, six views of each test image."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.gpu import SMALL
from experiments import cifar_speedrun as recipe

PEERS = ("jaxnets", "pytorch_compile")
CONFIG = recipe.Config(epochs=2.0, batch_size=8, train_examples=16, bfloat16=False) if SMALL else recipe.Config()
WIDTHS = (8, 8, 8) if SMALL else (64, 256, 256)
VIEWED = 8 if SMALL else 2000
"""Test images that are looked at together."""
TOLERANCES = {"the loss": 0.02, "its change by a step": 0.5}
"""They are computed in half precision and in another order. A wrong sign or rate would show in the change."""

PER_EPOCH = CONFIG.train_examples // CONFIG.batch_size
STEPS = int(np.ceil(CONFIG.epochs * PER_EPOCH))


def model() -> Any:
    """The network of jaxnets."""
    from jaxnets import models

    return models.whitened_cnn(models.WhitenedCNNConfig(widths=WIDTHS))


def weights() -> None:
    """None: each peer draws its own for every run, from the same distribution."""


def data() -> tuple[np.ndarray, ...]:
    """Standardized training images `[images, 32, 32, 3]` with labels, and those of the test."""
    if not SMALL:
        (images, labels), (test_images, test_labels) = recipe.load(CONFIG)
        return tuple(np.asarray(array) for array in (images, labels, test_images, test_labels))
    draw = np.random.default_rng(0)
    images = draw.normal(size=(2, 16, 32, 32, 3)).astype(np.float32)
    labels = draw.integers(0, 10, (2, 16)).astype(np.int32)
    return images[0], labels[0], images[1], labels[1]


def first_weights(seed: int, images: np.ndarray) -> Any:
    """Parameters and state of jaxnets, with the whitening of these images; PyTorch's are made of them for the check."""
    import jax

    params, state = model().init(jax.random.key(seed))
    return recipe.with_whitening(params, images), state
