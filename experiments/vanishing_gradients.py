"""Gradients that vanish or explode in networks of 2 to 64 layers, and what helps against it.

For sigmoid, tanh and ReLU it measures the norm of the gradient of every layer's kernel before the first step, and what
300 steps of momentum learn of the handwritten digits: with five initializers, gradient clipping, batch norm and
residual connections. All activations, seeds and initializers of one shape are trained by one call.

expected:  training accuracy of 32 layers after 300 steps: LeCun's initializer alone 0.07 (sigmoid), 0.10 (tanh),
           0.10 (ReLU); with batch norm 0.91 +- 0.01, 0.76 +- 0.04, 0.43 +- 0.00; with residuals and batch norm
           0.82 +- 0.05, 1.00, 0.64 +- 0.11 (means and deviations over the seeds 0 to 2, three networks each)
time:      13 min on one core beside much other work, most of it compilation
compile:   177 s of processor time until the first steps are done, on an Intel Xeon
hardware:  one core of an Intel Xeon, jax 0.10.2
command:   python -m experiments.vanishing_gradients --seed 0
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from experiments.support.many import consecutive_seeds
from jaxnets import Model, losses, make_model, metrics, nn
from jaxnets.config import PositiveInt
from jaxnets.data import digits
from jaxnets.experiment import Findings, Settings, in_run_folder, main
from jaxnets.models import MLPConfig, mlp
from jaxnets.report import RunFolder, working
from jaxnets.report.style import BLUE, GREEN, ORANGE, SKY, save, tidy, whole_ticks
from jaxnets.training import TrainState, init_train_state, make_gradient_report, make_step, scan_data, supervised

ACTIVATIONS = {"sigmoid": nn.sigmoid, "tanh": nn.tanh, "ReLU": nn.relu}
INITIALIZERS = {
    "too small": nn.initializers.variance_scaling(0.1, "fan_in", "truncated_normal"),
    "LeCun": nn.initializers.lecun_normal(),
    "He": nn.initializers.he_normal(),
    "orthogonal": nn.initializers.orthogonal(),
    "too large": nn.initializers.variance_scaling(10.0, "fan_in", "truncated_normal"),
}
SMALLEST = 1e-38
"""What stands for a norm of 0, about the smallest normal number of float32."""
WORST_LOSS = 100.0
"""What stands for a larger loss, or one that is not finite."""


@dataclasses.dataclass(frozen=True)
class Treatment:
    """A way to initialize and to train a network."""

    initializer: str = "LeCun"
    """The name of the initializer of all kernels."""
    norm: bool = False
    """Whether hidden layers have batch norm."""
    residual: bool = False
    """Whether hidden layers add their input to their result."""
    largest_norm: float = math.inf
    """The norm to which the gradient of all parameters is clipped."""


TREATMENTS = {
    **{name: Treatment(name) for name in INITIALIZERS},
    "too large, clipped": Treatment("too large", largest_norm=1.0),
    "batch norm": Treatment(norm=True),
    "residual": Treatment(residual=True),
    "residual + batch norm": Treatment(norm=True, residual=True),
}
KEYS = list(itertools.product(ACTIVATIONS, TREATMENTS))
TOGETHER = [
    [name for name, treatment in TREATMENTS.items() if (treatment.norm, treatment.residual) == form]
    for form in itertools.product([False, True], repeat=2)
]
"""The names of the treatments that one compiled program can train."""


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of the experiment."""

    seed: int = 0
    """Of the split of the data; the networks have the seeds from seed * seeds on."""
    seeds: PositiveInt = 3
    """Networks for each setting."""
    depths: tuple[int, ...] = (2, 4, 8, 16, 32, 64)
    """Numbers of linear layers, that of the result among them."""
    width: PositiveInt = 32
    """Units of a hidden layer."""
    steps: PositiveInt = 300
    """Of gradient descent."""
    batch_size: int = 64
    """Examples per step."""
    learning_rate: float = 0.05
    """Of gradient descent with momentum 0.9."""


def make_network(depth: int, width: int, activation: Any, treatment: Treatment) -> Model:
    """A perceptron of `depth` linear layers for the digits, with activation number `activation`, maybe traced."""
    config = MLPConfig((64, *[width] * (depth - 1), 10), norm=treatment.norm)
    spec = mlp(config, kernel_init=INITIALIZERS[treatment.initializer]).spec

    def apply(params: Any, state: Any, x: Any, *, key: Any = None, train: bool) -> Any:
        """What `mlp` does, whose own activation cannot be traced."""
        *hidden, last = params["layers"]
        new_state: dict[str, Any] = {"layers": [dict(layer) for layer in state["layers"]]} if state else {}
        for number, layer in enumerate(hidden):
            y = nn.linear(layer["linear"], x)
            if treatment.norm:
                norm = state["layers"][number]["norm"]
                y, new_state["layers"][number]["norm"] = nn.batch_norm(layer["norm"], norm, y, train=train)
            y = jax.lax.switch(activation, list(ACTIVATIONS.values()), y)
            x = x + y if treatment.residual and x.shape == y.shape else y
        return nn.linear(last["linear"], x), new_state

    return make_model(spec, apply)


def gradient_norms(model: Model, train_state: TrainState, batch: Any) -> Any:
    """The norms of the gradients of the layers' kernels, from the first to the last `[layers]`."""
    report = make_gradient_report(supervised(model, losses.cross_entropy))(train_state, batch)
    layers = range(len(train_state.params["layers"]))
    return jnp.stack([report[f"layers/{layer}/linear/kernel"].gradient for layer in layers])


def make_optimizer(config: Config, largest_norm: Any) -> optax.GradientTransformation:
    """Momentum, after clipping; a largest norm of infinity clips nothing."""
    return optax.chain(optax.clip_by_global_norm(largest_norm), optax.sgd(config.learning_rate, momentum=0.9))


def initialize(config: Config, depth: int, names: list[str]) -> TrainState:
    """The networks of one shape before their training, stacked `[treatments, seeds, ...]`; any activation will do."""
    seeds = consecutive_seeds(config.seed * config.seeds, config.seeds)
    optimizer = make_optimizer(config, math.inf)

    def one_treatment(name: str) -> TrainState:
        model = make_network(depth, config.width, 0, TREATMENTS[name])
        return jax.vmap(lambda seed: init_train_state(model, optimizer, seed))(seeds)

    stacked: TrainState = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(one_treatment, names))
    return stacked


def train(config: Config, names: list[str], initial: TrainState, data: Any) -> Any:
    """Measure and train networks of one shape with every activation, all at once.

    Returns:
        The norms of the gradients before training `[activations, treatments, seeds, layers]`, losses and accuracies of
        the batches `[activations, treatments, seeds, steps]`, and the parameters after training.
    """
    depth = len(initial.params["layers"])

    def one(activation: Any, network: TrainState, largest_norm: Any) -> Any:
        model = make_network(depth, config.width, activation, TREATMENTS[names[0]])
        loss = supervised(model, losses.cross_entropy, {"accuracy": metrics.accuracy})
        step = make_step(loss, make_optimizer(config, largest_norm))
        run_steps = scan_data(step, steps=config.steps, batch_size=config.batch_size, shuffle=False)
        trained, measured = run_steps(network, data)
        first = tuple(array[: config.batch_size] for array in data)
        return gradient_norms(model, network, first), jax.vmap(metrics.compute)(measured), trained.params

    over_seeds = jax.vmap(one, in_axes=(None, 0, None))
    over_treatments = jax.vmap(over_seeds, in_axes=(None, 0, 0))
    over_activations = jax.vmap(over_treatments, in_axes=(0, None, None))
    largest_norms = jnp.array([TREATMENTS[name].largest_norm for name in names])
    norms, measured, params = jax.jit(over_activations)(jnp.arange(len(ACTIVATIONS)), initial, largest_norms)
    return jax.device_get((norms, measured["loss"], measured["accuracy"], params))


def measure(config: Config, data: Any) -> tuple[dict[Any, dict[str, np.ndarray]], Any]:
    """Train everything; returns what was measured by (activation, treatment, depth), and all parameters."""
    found: dict[Any, dict[str, np.ndarray]] = {}
    networks = {}
    for depth in config.depths:
        for names in TOGETHER:
            with working(f"training {depth} layers: {', '.join(names)}"):
                norms, loss, accuracy, params = train(config, names, initialize(config, depth, names), data)
            networks[f"{names[0]} {depth}"] = params
            norms = np.maximum(np.nan_to_num(norms, nan=np.inf), SMALLEST)
            loss = np.minimum(np.nan_to_num(loss, nan=WORST_LOSS), WORST_LOSS)
            for (i, activation), (j, name) in itertools.product(enumerate(ACTIVATIONS), enumerate(names)):
                measured = {"norms": norms[i, j], "loss": loss[i, j], "accuracy": accuracy[i, j]}
                found[activation, name, depth] = measured
        for activation in ACTIVATIONS:
            ends = (f"{name} {at_the_end(config, found[activation, name, depth]):.2f}" for name in TREATMENTS)
            print(f"{depth:2} layers, {activation}: {'; '.join(ends)}", flush=True)
    return found, networks


def at_the_end(config: Config, measured: dict[str, np.ndarray], name: str = "accuracy") -> float:
    """The mean over the seeds and the last 20 batches."""
    return float(measured[name][:, -20:].mean())


def deep(config: Config) -> int:
    """The depth that the curves and the table show."""
    return 32 if 32 in config.depths else config.depths[-1]


def log_norm(measured: dict[str, np.ndarray], layer: int) -> float:
    """log10 of the norm of the gradient in a layer, mean over the seeds."""
    return float(np.log10(measured["norms"])[:, layer].mean())


def write_metrics(config: Config, folder: RunFolder, found: dict[Any, dict[str, np.ndarray]]) -> None:
    """Write loss and accuracy of every setting, mean over the seeds and over 20 batches, about an epoch."""
    size = min(20, config.steps)
    for epoch, first in enumerate(range(0, config.steps, size), start=1):
        rows = {
            f"{' '.join(map(str, key))} {name}": float(measured[name][:, first : first + size].mean())
            for key, measured in found.items()
            for name in ("loss", "accuracy")
        }
        loss = float(np.mean([value for name, value in rows.items() if name.endswith("loss")]))
        step = min(first + size, config.steps)
        folder.append_metrics(step=step, epoch=epoch, split="train", metrics={"loss": loss} | rows)


def plot_norms(config: Config, found: dict[Any, dict[str, np.ndarray]], path: Path) -> None:
    """Draw the norms before training: a panel per setting, a column in it per depth, the first layer on top."""
    names = [name for name in TREATMENTS if "clipped" not in name]  # clipping changes the step, not the gradient
    figure = Figure(figsize=(1.75 * len(names) + 1.2, 7), layout="constrained")
    panels = figure.subplots(len(ACTIVATIONS), len(names), sharex=True, sharey=True)
    for (row, activation), (column, name) in itertools.product(enumerate(ACTIVATIONS), enumerate(names)):
        axes = panels[row, column]
        for place, depth in enumerate(config.depths):
            logs = np.log10(found[activation, name, depth]["norms"]).mean(axis=0)
            edges = np.linspace(0, 1, depth + 1)
            mesh = axes.pcolormesh([place, place + 1], edges, logs[:, None], cmap="PuOr", vmin=-10, vmax=10)
        axes.set_xticks(np.arange(len(config.depths)) + 0.5, map(str, config.depths), fontsize=8)
        axes.set_yticks([0, 1], ["first", "last"])
        axes.set_ylim(1, 0)
        if row == 0:
            axes.set_title(name.replace("+ ", "+\n"), fontsize=10)
        if column == 0:
            axes.set_ylabel(f"{activation}\nlayer")
        if row == len(ACTIVATIONS) - 1:
            axes.set_xlabel("layers in all")
    bar = figure.colorbar(mesh, ax=panels, extend="both", shrink=0.8)
    bar.set_label("log10 of the gradient's norm: vanishing below 0, exploding above")
    save(figure, path)


def plot_accuracies(config: Config, found: dict[Any, dict[str, np.ndarray]], path: Path) -> None:
    """Draw the table of the accuracies at the end."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    panels = figure.subplots(1, len(ACTIVATIONS), sharey=True)
    for axes, activation in zip(panels, ACTIVATIONS, strict=True):
        table = [[at_the_end(config, found[activation, name, d]) for d in config.depths] for name in TREATMENTS]
        picture = axes.imshow(table, cmap="cividis", vmin=0, vmax=1, aspect="auto")
        for (row, column), value in np.ndenumerate(np.array(table)):
            color = "white" if value < 0.5 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize=9)
        axes.set_xticks(range(len(config.depths)), map(str, config.depths))
        axes.set_yticks(range(len(TREATMENTS)), TREATMENTS)
        axes.set_xlabel("layers")
        axes.set_title(activation)
    figure.colorbar(picture, ax=panels).set_label(f"training accuracy after {config.steps} steps")
    save(figure, path)


def plot_losses(config: Config, found: dict[Any, dict[str, np.ndarray]], path: Path) -> None:
    """Draw the training loss of one deep network for each activation, mean over the seeds."""
    depth = deep(config)
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    panels = figure.subplots(1, len(ACTIVATIONS), sharey=True)
    colors = ["#999999", BLUE, SKY, GREEN, ORANGE, ORANGE, "#E69F00", "#CC79A7", "#000000"]
    size = min(10, config.steps)
    for axes, activation in zip(panels, ACTIVATIONS, strict=True):
        for name, color in zip(TREATMENTS, colors, strict=True):
            losses_of_all = found[activation, name, depth]["loss"].mean(axis=0)
            smooth = losses_of_all[: config.steps // size * size].reshape(-1, size).mean(axis=1)
            style = "--" if "clipped" in name else "-"
            axes.semilogy(np.arange(1, len(smooth) + 1) * size, smooth, style, color=color, linewidth=1.6, label=name)
        axes.set_title(f"{activation}, {depth} layers")
        axes.set_xlabel("step")
        whole_ticks(axes)
        tidy(axes)
    panels[0].set_ylabel(f"cross-entropy, at most {WORST_LOSS:g} (log scale)")
    panels[-1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    save(figure, path)


def summarize(config: Config, found: dict[Any, dict[str, np.ndarray]]) -> dict[str, Any]:
    """Numbers of one deep network for each activation and treatment by name, and those of all depths."""
    depth = deep(config)
    result: dict[str, Any] = {"accuracy": {}, "log10 norm of the first layer": {}, "log10 first to last": {}}
    for activation, name in KEYS:
        measured, label = found[activation, name, depth], f"{activation} {name} {depth}"
        result["accuracy"][label] = at_the_end(config, measured)
        result["log10 norm of the first layer"][label] = log_norm(measured, 0)
        result["log10 first to last"][label] = log_norm(measured, 0) - log_norm(measured, -1)
    result["all"] = {
        " ".join(map(str, key)): {
            "accuracy": at_the_end(config, measured),
            "loss": at_the_end(config, measured, "loss"),
            "log10_norms": np.log10(measured["norms"]).mean(axis=0).tolist(),
        }
        for key, measured in found.items()
    }
    return result


@in_run_folder(smoke={"depths": (3,), "width": 8, "steps": 4, "seeds": 2})
def run(config: Config, folder: RunFolder) -> Findings:
    """Measure, train, and draw."""
    images, labels = digits(config.seed).train
    print(f"training accuracy after {config.steps} steps")
    found, networks = measure(config, (images.reshape(len(images), -1), labels))
    write_metrics(config, folder, found)

    def draw() -> None:
        plot_norms(config, found, folder.path / "gradient_norms.png")
        plot_accuracies(config, found, folder.path / "accuracies.png")
        plot_losses(config, found, folder.path / "curves.png")

    return Findings(summarize(config, found), networks, draw=draw)


if __name__ == "__main__":
    main(Config, run, __doc__)
