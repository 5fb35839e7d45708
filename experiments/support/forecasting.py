"""Train networks that forecast a series, several of them in one compiled call, and measure them on the test months."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets import losses, make_model, metrics, torch_defaults, training
from jaxnets.data import Series, fit_standardization, forecast_windows, window_starts
from jaxnets.model import Model

HORIZONS = (96, 192, 336, 720)
BATCH = 256
"""Windows that are measured at a time."""

Scores = tuple[tuple[float, float], ...]
PUBLISHED: dict[tuple[str, str], Scores] = {
    ("repeat", "ETTh1"): ((1.295, 0.713), (1.325, 0.733), (1.323, 0.744), (1.339, 0.756)),
    ("repeat", "ETTh2"): ((0.432, 0.422), (0.534, 0.473), (0.591, 0.508), (0.588, 0.517)),
    ("nlinear", "ETTh1"): ((0.374, 0.394), (0.408, 0.415), (0.429, 0.427), (0.440, 0.453)),
    ("nlinear", "ETTh2"): ((0.277, 0.338), (0.344, 0.381), (0.357, 0.400), (0.394, 0.436)),
    ("dlinear", "ETTh1"): ((0.375, 0.399), (0.405, 0.416), (0.439, 0.443), (0.472, 0.490)),
    ("dlinear", "ETTh2"): ((0.289, 0.353), (0.383, 0.418), (0.448, 0.465), (0.605, 0.551)),
    ("patch_tst", "ETTh1"): ((0.375, 0.399), (0.414, 0.421), (0.431, 0.436), (0.449, 0.466)),
    ("patch_tst", "ETTh2"): ((0.274, 0.336), (0.339, 0.379), (0.331, 0.380), (0.379, 0.422)),
}
"""Squared and absolute error at `HORIZONS`, of full batches only: Zeng et al. 2023, table 2, of 32 windows; Nie et al.
2023, table 3, PatchTST/42, of 128."""


class Recipe(NamedTuple):
    """How a network is trained.

    Attributes:
        epochs: at most.
        batch_size: windows a step.
        learning_rate: Adam's at first.
        full_epochs: epochs at that rate.
        decay: what it is multiplied by in every later epoch.
        patience: a network stops after so many epochs without a smaller validation error.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    full_epochs: int
    decay: float
    patience: int


class Kept(NamedTuple):
    """The network of the smallest validation error so far, and how many epochs it has waited for a smaller one."""

    params: Any
    state: Any
    error: Any
    waited: Any


class Forecaster(NamedTuple):
    """A network for one horizon, and the programs that train and measure it.

    Attributes:
        model: the network.
        history: how many times it reads.
        horizon: how many times it forecasts.
        recipe: how it is trained.
    """

    model: Model
    history: int
    horizon: int
    recipe: Recipe

    def windows(self, values: Any, starts: Any) -> tuple[Any, Any]:
        """What is known and what is to be forecast, `[windows, times, channels]` each."""
        return forecast_windows(values, starts, history=self.history, horizon=self.horizon)

    def starts(self, split: range) -> np.ndarray:
        """The windows of a split."""
        return window_starts(split, history=self.history, horizon=self.horizon)

    def loss(self, params: Any, state: Any, starts: Any, *, key: Any, train: bool, constants: Any) -> Any:
        """Mean squared error of a batch of windows; the series is the constant."""
        on_windows = training.supervised(self.model, losses.squared_error)
        return on_windows(params, state, self.windows(constants, starts), key=key, train=train)

    def optimizer(self, steps_per_epoch: int) -> optax.GradientTransformation:
        """Adam, whose learning rate falls from epoch to epoch."""
        recipe = self.recipe
        rate = optax.exponential_decay(
            recipe.learning_rate,
            steps_per_epoch,
            recipe.decay,
            transition_begin=(recipe.full_epochs - 1) * steps_per_epoch,
            staircase=True,
        )
        return optax.adam(rate)


def with_torch_defaults(model: Model) -> Model:
    """The same network, initialized as PyTorch does it."""
    return make_model(torch_defaults(model.spec), model.apply, model.config)


def repeat_last(horizon: int) -> Model:
    """Forecast the last value, forever."""

    def apply(params: Any, state: Any, x: Any, *, key: Any = None, train: bool) -> Any:
        return jnp.broadcast_to(x[:, -1:], (len(x), horizon, x.shape[2])), state

    return make_model({}, apply)


def train_forecasters(
    forecaster: Forecaster, series: Series, seeds: np.ndarray, report: Callable[[int, int, float, float], None]
) -> Kept:
    """Train one network for each seed, an epoch of all of them in one call; returns the best of each, stacked.

    `report(step, epoch, training error, validation error)` is called after every epoch, with means over the networks.
    """
    data, held_out = (jnp.asarray(forecaster.starts(split)) for split in (series.train, series.validation))
    values, recipe = jnp.asarray(series.values), forecaster.recipe
    steps = training.steps_per_epoch(len(data), recipe.batch_size)
    optimizer = forecaster.optimizer(steps)
    step = training.make_step(forecaster.loss, optimizer)
    run_epoch = training.scan_data(step, steps=steps, batch_size=recipe.batch_size)
    evaluate = training.make_evaluate(forecaster.loss, batch_size=BATCH)

    def one_epoch(carry: tuple[training.TrainState, Kept]) -> Any:
        train_state, kept = carry
        train_state, stacked = run_epoch(train_state, data, values)
        errors = [metrics.reduce(stacked), evaluate(train_state, held_out, values)]
        trained, validated = (metrics.compute(error)["loss"] for error in errors)
        return (train_state, _keep_better(kept, train_state, validated, recipe.patience)), (trained, validated)

    def start(seed: Any) -> tuple[training.TrainState, Kept]:
        initial = training.init_train_state(forecaster.model, optimizer, seed)
        return initial, Kept(initial.params, initial.state, jnp.float32(jnp.inf), jnp.int32(0))

    # One after the other: each is large enough to use all cores.
    program = training.compile_step(functools.partial(jax.lax.map, one_epoch))
    carry = jax.tree.map(jnp.copy, jax.jit(jax.vmap(start))(seeds))  # no two arrays share their memory
    for epoch in range(1, recipe.epochs + 1):
        carry, (trained, validated) = program(carry)
        report(epoch * steps, epoch, float(jnp.mean(trained)), float(jnp.mean(validated)))
        if bool(jnp.all(carry[1].waited >= recipe.patience)):
            break
    kept: Kept = carry[1]
    return kept


def _keep_better(kept: Kept, new: training.TrainState, error: Any, patience: int) -> Kept:
    """Early stopping as a pure function, so that each of several networks keeps its own best epoch."""
    better = (error < kept.error) & (kept.waited < patience)
    found = Kept(new.params, new.state, error, jnp.int32(0))
    waiting = kept._replace(waited=kept.waited + 1)
    return Kept(*jax.tree.map(lambda old, leaf: jnp.where(better, leaf, old), waiting, found))


def window_errors(forecaster: Forecaster, kept: Kept, values: Any, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The squared and the absolute error of each network and window, means over times and channels.

    Returns `[networks, windows]` twice.
    """

    @jax.jit
    def measure(values: Any, starts: Any) -> Any:
        known, wanted = forecaster.windows(values, starts)

        def one(network: Kept) -> Any:
            errors = forecaster.model.apply(network.params, network.state, known, train=False)[0] - wanted
            return jnp.mean(errors**2, axis=(1, 2)), jnp.mean(jnp.abs(errors), axis=(1, 2))

        return jax.lax.map(one, kept)

    parts = [measure(values, starts[first : first + BATCH]) for first in range(0, len(starts), BATCH)]
    squared, absolute = (np.concatenate([np.asarray(part[i], np.float64) for part in parts], axis=1) for i in (0, 1))
    return squared, absolute


def forecast(forecaster: Forecaster, kept: Kept, values: Any, start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is known, what came and what the first network forecasts in one window, `[times, channels]` each."""
    known, wanted = forecaster.windows(values, np.array([start]))
    first = jax.tree.map(lambda leaf: leaf[0], kept)
    made, _ = forecaster.model.apply(first.params, first.state, known, train=False)
    return np.asarray(known[0]), np.asarray(wanted[0]), np.asarray(made[0])


def waves(hours: int, channels: int = 7) -> Series:
    """Noisy waves of a day and a week, so that `--smoke` needs no files."""
    generator = np.random.default_rng(0)
    time = np.arange(hours)[:, None]
    phase = generator.random(channels)[None] * 6
    waves = np.sin(2 * np.pi * time / 24 + phase) + np.sin(2 * np.pi * time / 168 + phase)
    values = (waves + 0.1 * generator.normal(size=waves.shape)).astype(np.float32)
    first, second = hours * 6 // 10, hours * 8 // 10
    fitted = fit_standardization(values[:first])
    names = tuple(f"wave {i}" for i in range(channels))
    return Series(fitted(values), names, range(first), range(first, second), range(second, hours), fitted)
