"""Forecast the loads and the oil temperature of a transformer, 4 to 30 days ahead: --data ETTh1 or ETTh2.

All seven channels are forecast from the last 336 hours (14 days) by `--model` nlinear, dlinear, patch_tst or lstm, or
by repeating the last value. The recipes are those of the papers. Errors are those of standardized values, over all
windows of the four test months; the published ones leave out an incomplete last batch, which is measured too.

expected:  squared error 96, 192, 336 and 720 hours ahead, mean of three networks (--seed 0):
           ETTh1 nlinear 0.374, 0.407, 0.433, 0.436, dlinear 0.375, 0.409, 0.446, 0.488, last value 1.29 to 1.34;
           ETTh2 nlinear 0.277, 0.347, 0.380, 0.400, dlinear 0.415 (one network of three fails, as one of ten does: the
           others have 0.296), 0.392, 0.440, 0.641, last value 0.43 to 0.59. On a GPU patch_tst: ETTh1 0.377, 0.414,
           0.440, 0.454, ETTh2 0.275, 0.341, 0.368, 0.393; in full batches it differs by 0.002 at most from the
           published errors. On a CPU one with --horizons 96 --epochs 3 --learning-rate 1e-3: 0.376 and 0.283. lstm
           (three networks for 96 hours, else one): ETTh1 0.476, 0.493, 0.551, 0.593, ETTh2 0.369, 0.435, 0.431, 0.470
time:      2 to 5 min beside other work, lstm for each horizon; patch_tst 8 to 9 min on a GPU that is shared
compile:   15 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an Intel Xeon, jax 0.10.2; patch_tst on an NVIDIA H100, jax 0.11.2
command:   python -m experiments.forecast_ett --data ETTh1 --model nlinear --seed 0
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np

from experiments.support import forecasting
from experiments.support.forecast_figures import Drawn, plot_forecasts
from experiments.support.forecasting import HORIZONS, PUBLISHED, Forecaster, Kept, Recipe
from experiments.support.many import consecutive_seeds
from jaxnets import models
from jaxnets.config import PositiveInt
from jaxnets.data import Series, ett
from jaxnets.experiment import Findings, Settings, in_run_folder, main
from jaxnets.model import Model
from jaxnets.report import RunFolder, plot_curves

PUBLISHED_BATCH = {"patch_tst": 128}
"""The batch size of the published test errors; of all others 32."""
LINE = "{:>7}  {:7.4f} +- {:.4f}  {:7.4f} +- {:.4f}  {:>6} {:>6}  {:>7.4f} {:.4f}  {:>6} {:>6}"


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of the experiment."""

    seed: int = 0
    """The networks have the seeds networks * seed, networks * seed + 1, ...: of initial values, order and dropout."""
    data: Literal["ETTh1", "ETTh2"] = "ETTh1"
    """Which transformer."""
    model: Literal["nlinear", "dlinear", "patch_tst", "lstm", "repeat"] = "nlinear"
    """Which network; repeat is the forecast that nothing changes."""
    history: PositiveInt = 336
    """Hours that are known."""
    horizons: tuple[int, ...] = HORIZONS
    """Hours that are forecast."""
    networks: PositiveInt = 3
    """Networks of each horizon."""
    epochs: int | None = None
    """How often a network sees every window at most; None for the recipe's."""
    learning_rate: float | None = None
    """Adam's learning rate at first; None for the recipe's."""


def recipe_of(config: Config) -> Recipe:
    """The recipe of the network's paper, with what the settings change."""
    recipes = {
        "patch_tst": Recipe(100, 128, 1e-4, full_epochs=4, decay=0.9, patience=10),
        "lstm": Recipe(10, 64, 1e-3, full_epochs=2, decay=0.5, patience=3),
        "repeat": Recipe(1, 32, 0.0, full_epochs=1, decay=1.0, patience=1),
    }
    linear = Recipe(10, 32, 0.05 if config.data == "ETTh2" else 0.005, full_epochs=2, decay=0.5, patience=3)
    recipe = recipes.get(config.model, linear)
    epochs = recipe.epochs if config.epochs is None else config.epochs
    rate = recipe.learning_rate if config.learning_rate is None else config.learning_rate
    return recipe._replace(epochs=epochs, learning_rate=rate)


def network(config: Config, horizon: int, channels: int) -> Model:
    """The network for one horizon."""
    windows: dict[str, Any] = {"history": config.history, "horizon": horizon}
    if config.model == "repeat":
        return forecasting.repeat_last(horizon)
    if config.model == "lstm":
        return models.lstm_forecaster(models.LSTMForecasterConfig(channels=channels, horizon=horizon))
    if config.model == "patch_tst":  # the small one of the paper, for these two series
        small: dict[str, Any] = {"heads": 4, "features": 16, "hidden": 128, "dropout_rate": 0.3}
        return forecasting.with_torch_defaults(models.patch_tst(models.PatchTSTConfig(**windows, **small)))
    linear = {
        "nlinear": lambda: models.nlinear(models.NLinearConfig(**windows)),
        "dlinear": lambda: models.dlinear(models.DLinearConfig(**windows)),
    }
    return forecasting.with_torch_defaults(linear[config.model]())


def train(config: Config, folder: RunFolder, series: Series, horizon: int) -> tuple[Forecaster, Kept]:
    """Train the networks of one horizon."""
    model = network(config, horizon, series.values.shape[1])
    forecaster = Forecaster(model, config.history, horizon, recipe_of(config))
    seeds = consecutive_seeds(config.networks * config.seed, config.networks)

    def report(step: int, epoch: int, trained: float, validated: float) -> None:
        for split, error in (("train", trained), ("validation", validated)):
            measured = {f"squared error, {horizon} hours": error}
            folder.append_metrics(step=step, epoch=epoch, split=split, metrics=measured)
        print(f"{horizon} hours, epoch {epoch}: training {trained:.4f}, validation {validated:.4f}", flush=True)

    return forecaster, forecasting.train_forecasters(forecaster, series, seeds, report)


def measure(config: Config, series: Series, forecaster: Forecaster, kept: Kept) -> dict[str, Any]:
    """Errors on the test months: means and deviations over the networks, and those of repeating the last value."""
    starts = forecaster.starts(series.test)
    squared, absolute = forecasting.window_errors(forecaster, kept, series.values, starts)
    last = forecaster._replace(model=forecasting.repeat_last(forecaster.horizon))
    size = PUBLISHED_BATCH.get(config.model, 32)
    full = max(len(starts) // size * size, 1)
    repeated = forecasting.window_errors(last, kept, series.values, starts)
    found: dict[str, Any] = {"windows": len(starts), "validation": float(np.mean(np.asarray(kept.error)))}
    for name, errors, of_last in (("mse", squared, repeated[0]), ("mae", absolute, repeated[1])):
        of_networks = errors.mean(axis=1)
        found |= {
            name: float(of_networks.mean()),
            f"{name}_sd": float(of_networks.std(ddof=1)) if len(of_networks) > 1 else 0.0,
            f"{name}_full_batches": float(errors[:, :full].mean()),
            f"{name}_last_value": float(of_last.mean()),
            f"{name}_of_networks": of_networks.tolist(),
        }
    return found


def show(config: Config, horizon: int, found: dict[str, Any]) -> None:
    """Print a line of the table."""
    published: tuple[Any, Any] = ("", "")
    if (config.model, config.data) in PUBLISHED and horizon in HORIZONS:
        published = PUBLISHED[config.model, config.data][HORIZONS.index(horizon)]
    full = (f"{found[f'{name}_full_batches']:.4f}" for name in ("mse", "mae"))
    last = (found["mse_last_value"], found["mae_last_value"])
    print(LINE.format(horizon, found["mse"], found["mse_sd"], found["mae"], found["mae_sd"], *full, *last, *published))


def drawn(series: Series, forecaster: Forecaster, kept: Kept) -> Drawn:
    """The last channel of the window in the middle of the test months, in its unit."""
    starts = forecaster.starts(series.test)
    parts = forecasting.forecast(forecaster, kept, series.values, int(starts[len(starts) // 2]))
    known, came, made = (series.standardization.inverse(part)[:, -1] for part in parts)
    return Drawn(known, came, made, f"{forecaster.horizon} hours ahead")


@in_run_folder(smoke={"history": 24, "horizons": (4, 8), "epochs": 2, "networks": 2})
def run(config: Config, folder: RunFolder) -> Findings:
    """Train and measure the networks of every horizon, and draw one forecast of each."""
    series = forecasting.waves(400) if config.smoke else ett(config.data)
    found, params, windows = {}, {}, []
    for horizon in config.horizons:
        forecaster, kept = train(config, folder, series, horizon)
        found[str(horizon)] = measure(config, series, forecaster, kept)
        errors = {f"squared error, {horizon} hours": found[str(horizon)]["mse"]}
        last = folder.read_metrics()[-1]
        folder.append_metrics(step=last["step"], epoch=last["epoch"], split="test", metrics=errors)
        params[str(horizon)] = kept.params
        windows.append(drawn(series, forecaster, kept))
    print(f"{config.model} on {config.data}: mean and deviation over {config.networks} networks")
    print("horizon  MSE                MAE                full batches   last value      published")
    for horizon in config.horizons:
        show(config, horizon, found[str(horizon)])

    def draw() -> None:
        plot_curves(folder.read_metrics(), folder.path / "curves.png")
        plot_forecasts(windows, "oil temperature (°C)", config.model, folder.path / "forecasts.png")

    return Findings(found, params, draw=draw)


if __name__ == "__main__":
    main(Config, run, __doc__)
