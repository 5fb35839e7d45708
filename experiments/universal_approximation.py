"""One hidden layer of 1 to 1,024 sigmoids against the largest error on three continuous functions.

a(x) = sum_h alpha_h sigma(w_h x - w_0h) + b, the universal approximation theorem's network, in four ways: trained by
L-BFGS; the same with alpha and b solved by least squares in float64 afterwards; least squares alone, on the initial
units; and the staircase by which the theorem is proved, which has no training at all. The error is the largest on a
grid of 10,007 points.

expected:  1,024 units: with least squares 2.8e-9 +- 1.1e-9 for the sine, 1.0e-3 for the kink and 1.3e-7 for the chirp;
           by training alone 7e-3, 5e-3 and 9e-2; the staircase 3.0e-3, 4.8e-4 and 2.4e-2
           (means over the seeds 0 to 2, three networks each)
time:      2 min of processor time
compile:   65 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.universal_approximation --seed 0
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.support.many import consecutive_seeds
from jaxnets import losses
from jaxnets.config import PositiveInt
from jaxnets.experiment import Findings, Settings, in_run_folder, main
from jaxnets.models import MLPConfig, mlp
from jaxnets.random import subkey
from jaxnets.report import RunFolder, working
from jaxnets.report.style import BLUE, GREEN, ORANGE, save, tidy

FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "sine": lambda x: np.sin(2 * np.pi * x),
    "kink": lambda x: np.abs(x - 0.5),
    "chirp": lambda x: np.sin(8 * np.pi * x**2),
}
FORMULAS = {"sine": "sin 2πx", "kink": "|x - 1/2|", "chirp": "sin 8πx²"}
METHODS = {
    "staircase": "staircase, no training",
    "trained": "trained by L-BFGS",
    "refitted": "trained, then least squares",
    "random units": "random units, least squares",
}
STEEPEST = 128.0
FINE_POINTS = 10_007  # a prime, so that they fall on no steps of the staircase
WIDTHS_IN_THE_TABLE = (4, 16, 64, 256, 1024)
WIDTHS_DRAWN = (1, 4, 64)
COLORS = ("#999999", BLUE, ORANGE, GREEN)
MARKERS = ("x", "o", "s", "D")


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of the experiment."""

    seed: int = 0
    """The networks have the seeds from seed * seeds on, so that those of different runs differ."""
    seeds: PositiveInt = 3
    """Networks for each number of units and function."""
    doublings: PositiveInt = 10
    """The largest hidden layer has 2**doublings units."""
    steps: PositiveInt = 400
    """Of L-BFGS, on all points at once."""
    points: PositiveInt = 513
    """On which the networks are trained, equally far apart on [0, 1]."""


def initialize(units: int, key: Any) -> dict[str, Any]:
    """Units whose centers are spread over [0, 1], rising and falling, slopes log-uniform from 5 to 2 units or 128."""
    ends = math.log(5.0), math.log(min(max(10.0, 2.0 * units), STEEPEST))
    centers = (jnp.arange(units) + jax.random.uniform(subkey(key, "centres"), (units,))) / units
    slopes = jnp.exp(jax.random.uniform(subkey(key, "slopes"), (units,), minval=ends[0], maxval=ends[1]))
    slopes = slopes * jax.random.rademacher(subkey(key, "signs"), (units,), dtype=slopes.dtype)
    alpha = jax.random.normal(subkey(key, "alpha"), (units, 1)) / units
    hidden = {"kernel": slopes[None], "bias": -slopes * centers}
    return {"layers": [{"linear": hidden}, {"linear": {"kernel": alpha, "bias": jnp.zeros(1)}}]}


def train(units: int, steps: int, x: np.ndarray, y: np.ndarray, seeds: np.ndarray) -> Any:
    """Train a network for every seed and function at once; returns initial and final parameters and losses, all
    `[seeds, functions, ...]`.

    Args:
        units: of the hidden layer.
        steps: of L-BFGS.
        x: `[points]`.
        y: `[functions, points]`.
        seeds: uint32 `[seeds]`.
    """
    model = mlp(MLPConfig((1, units, 1), activation="sigmoid"))
    inputs = jnp.asarray(x, jnp.float32)[:, None]
    optimizer = optax.lbfgs(memory_size=10)

    def one(seed: Any, targets: Any) -> Any:
        def loss(params: Any) -> Any:
            outputs, _ = model.apply(params, {}, inputs, train=True)
            return jnp.mean(losses.squared_error(outputs[:, 0], targets))

        def step(carry: Any, _: None) -> Any:
            params, state = carry
            value, gradient = optax.value_and_grad_from_state(loss)(params, state=state)
            updates, state = optimizer.update(gradient, state, params, value=value, grad=gradient, value_fn=loss)
            return (optax.apply_updates(params, updates), state), value

        params = initialize(units, jax.random.key(seed))
        (trained, _), values = jax.lax.scan(step, (params, optimizer.init(params)), length=steps)
        return params, trained, values

    over_functions = jax.vmap(one, in_axes=(None, 0))
    return jax.jit(jax.vmap(over_functions, in_axes=(0, None)))(seeds, jnp.asarray(y, jnp.float32))


def features(params: Any, x: np.ndarray) -> np.ndarray:
    """The hidden units and a constant at the points, float64 `[points, units + 1]`."""
    hidden = params["layers"][0]["linear"]
    z = np.outer(x, np.float64(hidden["kernel"][0])) + np.float64(hidden["bias"])
    return np.concatenate([(1 + np.tanh(z / 2)) / 2, np.ones((len(x), 1))], axis=1)


def output_weights(params: Any) -> np.ndarray:
    """Alpha and b of a network `[units + 1]`."""
    last = params["layers"][1]["linear"]
    return np.append(last["kernel"][:, 0], last["bias"]).astype(np.float64)


def least_squares(params: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The alpha and b of the smallest squared error with the hidden units as they are `[units + 1]`."""
    weights: np.ndarray = np.linalg.lstsq(features(params, x), y, rcond=1e-10)[0]
    return weights


def staircase(function: Callable[[np.ndarray], np.ndarray], units: int) -> dict[str, Any]:
    """The network of the proof: a steep unit half-way between neighbors on a grid adds what f does between them.

    At the limit of vertical steps its error is at most the largest change of f over 1 / (2 units).
    """
    values = function(np.arange(units + 1) / units)
    slopes = np.full(units, 1000.0 * units)
    hidden = {"kernel": slopes[None], "bias": -slopes * (np.arange(units) + 0.5) / units}
    return {"layers": [{"linear": hidden}, {"linear": {"kernel": np.diff(values)[:, None], "bias": values[:1]}}]}


def approximations(initial: Any, trained: Any, name: str, x: np.ndarray, fine: np.ndarray) -> dict[str, np.ndarray]:
    """What each method's network of one seed gives for one function at the fine points."""
    y = FUNCTIONS[name](x)
    steps = staircase(FUNCTIONS[name], len(output_weights(trained)) - 1)
    return {
        "staircase": features(steps, fine) @ output_weights(steps),
        "trained": features(trained, fine) @ output_weights(trained),
        "refitted": features(trained, fine) @ least_squares(trained, x, y),
        "random units": features(initial, fine) @ least_squares(initial, x, y),
    }


def measure(config: Config, folder: RunFolder, widths: list[int]) -> Any:
    """Train all widths; returns errors `[method, function, width, seed]`, losses, fits, points, and parameters."""
    x = np.linspace(0, 1, config.points)
    fine = np.linspace(0, 1, FINE_POINTS)
    y = np.stack([function(x) for function in FUNCTIONS.values()])
    seeds = consecutive_seeds(config.seed * config.seeds, config.seeds)
    errors = np.zeros((len(METHODS), len(FUNCTIONS), len(widths), config.seeds))
    curves, fits, networks = {}, {}, {}
    for width, units in enumerate(widths):
        with working(f"training {config.seeds} networks of {units} units for each function"):
            initial, trained, values = jax.device_get(train(units, config.steps, x, y, seeds))
        networks[str(units)], curves[units] = trained, values.mean(axis=0)
        for seed, function in np.ndindex(config.seeds, len(FUNCTIONS)):
            name = list(FUNCTIONS)[function]
            before, after = jax.tree.map(lambda leaf, at=(seed, function): leaf[at], (initial, trained))
            outputs = approximations(before, after, name, x, fine)
            for method, output in enumerate(outputs.values()):
                errors[method, function, width, seed] = np.abs(output - FUNCTIONS[name](fine)).max()
            if seed == 0:
                fits[units, name] = outputs["trained"]
        means = errors[:, :, width].mean(axis=-1)
        measured = {
            f"{name} {method}": means[i, j] for j, name in enumerate(FUNCTIONS) for i, method in enumerate(METHODS)
        }
        row = {"loss": float(values[..., -1].mean())} | measured
        folder.append_metrics(step=config.steps, epoch=units, split="test", metrics=row)
        cells = "; ".join(f"{name} " + " ".join(f"{e:8.1e}" for e in means[:, j]) for j, name in enumerate(FUNCTIONS))
        print(f"{units:5} units: {cells}", flush=True)
    return errors, curves, fits, fine, networks


def label(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    """What all panels have."""
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    tidy(axes)


def plot_errors(errors: np.ndarray, fits: Any, fine: np.ndarray, widths: list[int], path: Path) -> None:
    """Draw the errors over the units, mean and range over the seeds, and below them what training made of f."""
    figure = Figure(figsize=(13, 7.2), layout="constrained")
    panels = figure.subplots(2, len(FUNCTIONS))
    for column, (name, function) in enumerate(FUNCTIONS.items()):
        axes = panels[0, column]
        for method, color, marker, values in zip(METHODS.values(), COLORS, MARKERS, errors[:, column], strict=True):
            mean = values.mean(axis=-1)
            axes.plot(widths, mean, color=color, marker=marker, markersize=4, linewidth=1.6, label=method)
            axes.fill_between(widths, values.min(axis=-1), values.max(axis=-1), color=color, alpha=0.18, linewidth=0)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(widths[::2], [f"{units:,}" for units in widths[::2]])
        label(axes, f"{name}: {FORMULAS[name]}", "hidden units", "largest error on [0, 1] (log scale)")
        axes = panels[1, column]
        axes.plot(fine, function(fine), color="black", linewidth=4, alpha=0.2, label="f")
        drawn = [units for units in WIDTHS_DRAWN if units in widths]
        for units, color in zip(drawn, COLORS[1:], strict=False):
            axes.plot(fine, fits[units, name], color=color, linewidth=1.4, label=f"{units} unit{'s' * (units > 1)}")
        label(axes, "trained networks, first seed", "x", "value")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    panels[1, 0].legend(frameon=False)
    save(figure, path)


def plot_losses(curves: Any, path: Path) -> None:
    """Draw the training loss over the steps, a line for each number of units."""
    figure = Figure(figsize=(13, 3.8), layout="constrained")
    panels = figure.subplots(1, len(FUNCTIONS), sharey=True)
    colors = colormaps["viridis"](np.linspace(0, 0.9, len(curves)))
    for column, (axes, name) in enumerate(zip(panels, FUNCTIONS, strict=True)):
        for color, (units, values) in zip(colors, curves.items(), strict=True):
            axes.semilogy(
                np.arange(len(values[column])), values[column], color=color, linewidth=1.3, label=f"{units:,}"
            )
        label(axes, f"{name}: {FORMULAS[name]}", "step of L-BFGS", "mean squared error (log scale)")
    panels[-1].legend(title="hidden units", frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def summarize(errors: np.ndarray, widths: list[int]) -> dict[str, Any]:
    """Mean and deviation over the seeds, of the widths of the table by name and of all of them."""
    mean = errors.mean(axis=-1)
    deviation = errors.std(axis=-1, ddof=1) if errors.shape[-1] > 1 else np.zeros(mean.shape)
    table = [width for width, units in enumerate(widths) if units in WIDTHS_IN_THE_TABLE]
    result: dict[str, Any] = {
        name: {
            f"{method} {widths[width]}": float(mean[i, j, width]) for i, method in enumerate(METHODS) for width in table
        }
        for j, name in enumerate(FUNCTIONS)
    }
    result["all"] = {
        "units": widths,
        "mean": {name: dict(zip(METHODS, mean[:, j].tolist(), strict=True)) for j, name in enumerate(FUNCTIONS)},
        "deviation": {
            name: dict(zip(METHODS, deviation[:, j].tolist(), strict=True)) for j, name in enumerate(FUNCTIONS)
        },
    }
    return result


@in_run_folder(smoke={"doublings": 2, "steps": 5, "points": 33, "seeds": 2})
def run(config: Config, folder: RunFolder) -> Findings:
    """Train, measure, and draw."""
    widths = [2**doubling for doubling in range(config.doublings + 1)]
    print(f"largest errors: {', '.join(METHODS)}")
    errors, curves, fits, fine, networks = measure(config, folder, widths)

    def draw() -> None:
        plot_errors(errors, fits, fine, widths, folder.path / "universal_approximation.png")
        plot_losses(curves, folder.path / "curves.png")

    return Findings(summarize(errors, widths), networks, draw=draw)


if __name__ == "__main__":
    main(Config, run, __doc__)
