"""Many networks of the same settings at once: the spread of what comes of other initial values, and other points."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from jaxnets import metrics
from jaxnets.playground.network import make_data, make_epoch, make_loss, make_network, make_optimizer
from jaxnets.playground.run import KEPT, structure
from jaxnets.playground.settings import PlaygroundSettings
from jaxnets.training import compile_step, init_train_state, make_evaluate

SEEDS = 64


@functools.lru_cache(KEPT)
def _programs(settings: PlaygroundSettings) -> tuple[Any, Any, Any]:
    """Initialize, train for an epoch, and measure, for all seeds at once."""
    network, loss = make_network(settings), make_loss(settings)
    initialize = functools.partial(init_train_state, network, make_optimizer(settings))
    evaluate = make_evaluate(loss)

    def measured(train_state: Any, data: Any) -> Any:
        return metrics.compute(evaluate(train_state, data))["loss"]

    return (
        jax.jit(jax.vmap(initialize)),
        compile_step(jax.vmap(make_epoch(settings), in_axes=(0, 0, None, None))),
        jax.jit(jax.vmap(measured)),
    )


class Cloud:
    """64 networks in training, by one program that is vmapped over them.

    Attributes:
        settings: of all of them.
        new_points: whether each also has points of its own, or all have the same.
        epoch: how far they are.

    Args:
        settings: of all of them; the seeds are `settings.seed` and those that follow.
        new_points: whether each has points of its own, whose seeds follow `settings.data_seed`.

    Example:
        >>> cloud = Cloud(PlaygroundSettings(data="gauss", hidden=()))
        >>> cloud.train()
        >>> len(cloud.measure()["test"]), cloud.epoch
        (64, 1)
    """

    def __init__(self, settings: PlaygroundSettings, *, new_points: bool = False) -> None:
        self.settings, self.new_points, self.epoch = settings, new_points, 0
        numbers = range(SEEDS) if new_points else [0] * SEEDS
        sets = [make_data(settings, (settings.data_seed + number) % 2**32) for number in numbers]
        self._train, self._test = (
            jax.tree.map(lambda *arrays: np.stack(arrays), *[getattr(one, split) for one in sets])
            for split in ("train", "test")
        )
        self._initialize, self._epoch, self._measure = _programs(structure(settings))
        seeds = (np.arange(SEEDS, dtype=np.uint64) + settings.seed) % 2**32
        self._states = self._initialize(seeds.astype(np.uint32))
        self._rates = np.float32(settings.learning_rate), np.float32(settings.regularization_rate)

    def train(self) -> None:
        """Train all for an epoch."""
        self._states, _ = self._epoch(self._states, self._train, *self._rates)
        self.epoch += 1

    def measure(self) -> dict[str, np.ndarray]:
        """The losses of all networks on both splits, `[seeds]`."""
        splits = {"train": self._train, "test": self._test}
        losses: dict[str, np.ndarray] = jax.device_get(
            {name: self._measure(self._states, split) for name, split in splits.items()}
        )
        return losses


def summary(losses: np.ndarray) -> dict[str, float]:
    """Median, quartiles and extremes; a loss that is no number counts as the largest.

    Example:
        >>> summary(np.array([4.0, 1.0, 2.0, 3.0, np.nan]))["median"]
        3.0
    """
    finite = np.where(np.isfinite(losses), losses, np.inf)
    names = ("least", "lower", "median", "upper", "largest")
    values = np.quantile(finite, [0, 0.25, 0.5, 0.75, 1], method="nearest")
    return dict(zip(names, map(float, values), strict=True))
