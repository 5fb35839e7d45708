"""A network of the playground in training: what it is, how far it is, and what can be measured of it."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import metrics
from jaxnets.checksum import data_checksum
from jaxnets.playground.network import make_data, make_epoch, make_loss, make_network, make_optimizer
from jaxnets.playground.pictures import make_pictures
from jaxnets.playground.settings import PlaygroundSettings
from jaxnets.training import compile_step, init_train_state, make_evaluate, make_gradient_report

KEPT = 32
"""Of how many networks the compiled programs are kept."""


class Programs(NamedTuple):
    """The compiled programs of a network.

    Attributes:
        epoch: as `make_epoch` says.
        evaluate: as `jaxnets.training.make_evaluate` says.
        pictures: as `make_pictures` says.
        gradients: as `jaxnets.training.make_gradient_report` says.
    """

    epoch: Any
    evaluate: Any
    pictures: Any
    gradients: Any


def structure(settings: PlaygroundSettings) -> PlaygroundSettings:
    """The settings on which the programs depend; all others have their defaults."""
    fixed = PlaygroundSettings()
    names = ("noise", "learning_rate", "regularization_rate", "epochs", "seed", "data_seed")
    return dataclasses.replace(settings, **{name: getattr(fixed, name) for name in names})


@functools.lru_cache(KEPT)
def programs(settings: PlaygroundSettings) -> Programs:
    """Make the programs of a `structure`; each is compiled when it is called first."""
    loss = make_loss(settings)
    return Programs(
        compile_step(make_epoch(settings)),
        jax.jit(make_evaluate(loss)),
        jax.jit(make_pictures(settings)),
        jax.jit(make_gradient_report(loss)),
    )


class Run:
    """A network in training.

    Attributes:
        settings: what it is.
        data: its points.
        epoch: how often it has seen every training example.

    Args:
        settings: what it is; of `epochs` it takes no notice.

    Example:
        >>> run = Run(PlaygroundSettings(data="gauss", hidden=()))
        >>> before = run.measure()["test"]["loss"]
        >>> run.train()
        >>> run.epoch, run.measure()["test"]["loss"] < before
        (1, True)
    """

    def __init__(self, settings: PlaygroundSettings) -> None:
        self.settings, self.epoch = settings, 0
        self.data = make_data(settings, settings.data_seed)
        self._programs = programs(structure(settings))
        self._state = init_train_state(make_network(settings), make_optimizer(settings), settings.seed)
        self._warm = False
        self._rates = np.float32(settings.learning_rate), np.float32(settings.regularization_rate)

    def train(self) -> None:
        """Train for an epoch."""
        self._state, _ = self._programs.epoch(self._state, self.data.train, *self._rates)
        self.epoch += 1

    def warm_up(self) -> None:
        """Compile what `train` needs, with a copy that is thrown away."""
        if not self._warm:
            copied = jax.tree.map(jnp.copy, self._state)
            jax.block_until_ready(self._programs.epoch(copied, self.data.train, *self._rates))
            self._warm = True

    def measure(self) -> dict[str, dict[str, float]]:
        """The loss, and of a classifier the accuracy, of both splits."""
        splits = {"train": self.data.train, "test": self.data.test}
        measured = {name: self._programs.evaluate(self._state, split) for name, split in splits.items()}
        numbers: dict[str, dict[str, Any]] = jax.device_get(metrics.compute(measured))
        return {split: {name: float(value) for name, value in found.items()} for split, found in numbers.items()}

    def pictures(self) -> tuple[np.ndarray, np.ndarray]:
        """The pictures of `make_pictures`."""
        output, neurons = jax.device_get(self._programs.pictures(self._state.params))
        return output, neurons

    def layers(self) -> list[dict[str, Any]]:
        """Weights `[inputs, neurons]` and biases of every layer, as lists."""
        params = jax.device_get(self._state.params)["layers"]
        return [{name: layer["linear"][name].tolist() for name in ("kernel", "bias")} for layer in params]

    def gradient_norms(self) -> list[float]:
        """The norm of the gradient by the weights and biases of every layer, over all training examples."""
        rows = jax.device_get(self._programs.gradients(self._state, self.data.train))
        places = [f"layers/{number}/linear" for number in range(len(self.settings.sizes) - 1)]
        return [
            math.hypot(*(float(rows[f"{place}/{name}"].gradient) for name in ("kernel", "bias"))) for place in places
        ]

    def fingerprint(self) -> str:
        """Of all parameters: equal for equal bits."""
        return f"{data_checksum(jax.device_get(self._state.params)):08x}"
