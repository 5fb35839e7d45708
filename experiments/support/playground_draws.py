"""Many networks of the Playground at once, each on points of its own."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from experiments.support.many import stack
from jaxnets.playground.network import make_data, make_trainer
from jaxnets.playground.settings import PlaygroundSettings


@functools.cache
def _compiled(settings: PlaygroundSettings) -> Any:
    return jax.jit(jax.vmap(make_trainer(settings), in_axes=(0, 0, 0, None)))


def train_draws(settings: PlaygroundSettings, seeds: Iterable[int]) -> dict[str, Any]:
    """Train a network for each seed, each on points of its own, at once.

    Returns:
        The history of `make_trainer`, as NumPy's arrays `[seeds, epochs + 1, ...]`.
    """
    numbers = np.array(list(seeds), np.uint32)
    sets = [make_data(settings, int(number)) for number in numbers]
    program = _compiled(dataclasses.replace(settings, noise=0.0, regularization_rate=0.0))  # which it does not hold
    train, test = stack([data.train for data in sets]), stack([data.test for data in sets])
    history: dict[str, Any] = jax.device_get(program(numbers, train, test, settings.regularization_rate))
    return history
