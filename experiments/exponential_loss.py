"""AdaBoost's exponential loss beside cross-entropy and hinge, on breast tumors with clean and with flipped labels.

A linear classifier, or a network with `--hidden`, learns with each loss from 398 tumors, as many times as there are
networks, each time with another split, initialization and order. Then a share of the training labels is flipped. The
exponential loss exp(-y f) grows fastest where an example is wrong, so that a few wrong labels take hold of it.

expected:  test accuracy with clean labels 0.971 +- 0.004 over the seeds 0 to 2 (cross-entropy 0.973 +- 0.004, hinge
           0.972 +- 0.004); with 10% flipped 0.934 +- 0.002 (cross-entropy 0.949 +- 0.003, hinge 0.955 +- 0.002)
time:      20 s of processor time
compile:   19 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.exponential_loss --seed 0
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.support.many import consecutive_seeds, stack
from jaxnets import losses
from jaxnets.config import PositiveInt
from jaxnets.data import Split, breast_cancer, standardize
from jaxnets.experiment import Findings, TrainingSettings, in_run_folder, main
from jaxnets.model import Model
from jaxnets.models import MLPConfig, mlp
from jaxnets.report import RunFolder, plot_curves, working
from jaxnets.report.style import BLUE, GREEN, ORANGE, save, tidy
from jaxnets.training import TrainState, init_train_state, make_step, scan_data, steps_per_epoch

LOSSES = {
    "exponential": losses.exponential,
    "cross_entropy": lambda outputs, labels: losses.binary_cross_entropy(outputs, (labels + 1) // 2),
    "hinge": losses.hinge,
}
COLORS = {"exponential": ORANGE, "cross_entropy": BLUE, "hinge": GREEN}
DASHES = {"exponential": "-", "cross_entropy": "--", "hinge": ":"}


@dataclasses.dataclass(frozen=True)
class Config(TrainingSettings):
    """Settings of the experiment."""

    seed: int = 0
    """Of the splits, the initial values, the orders and the choice of labels to flip."""
    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 1e-2
    networks: PositiveInt = 40
    """Splits, with a network each for every loss."""
    hidden: tuple[int, ...] = ()
    """Hidden units, layer by layer; none for a linear classifier."""
    flipped: float = 0.1
    """Share of the training labels that is flipped the second time."""


class Data(NamedTuple):
    """One split, or a stack of them: inputs and labels of -1 and 1; and which of the training labels are flipped."""

    train: Split
    validation: Split
    test: Split
    flipped: np.ndarray


def split_and_flip(seed: int, share: float) -> Data:
    """Split, standardize by the training split alone, and flip a share of the training labels."""
    data = standardize(breast_cancer(seed))
    train, validation, test = ((inputs, 2 * labels - 1) for inputs, labels in data[:3])
    size = len(train[1])
    flipped = np.random.default_rng(seed).permutation(size) < round(share * size)
    return Data((train[0], np.where(flipped, -train[1], train[1])), validation, test, flipped)


def network_seeds(config: Config) -> np.ndarray:
    """Other ones for each seed of the experiment."""
    return consecutive_seeds(config.seed * config.networks, config.networks)


def measure(model: Model, name: str, params: Any, split: Any) -> dict[str, Any]:
    """Mean loss and accuracy on (inputs, labels)."""
    inputs, labels = split
    outputs = model.apply(params, {}, inputs, train=False)[0][:, 0]
    right = jnp.sign(outputs) == labels
    return {"loss": jnp.mean(LOSSES[name](outputs, labels)), "accuracy": jnp.mean(right.astype(jnp.float32))}


def train_all(config: Config, model: Model, name: str, data: Data) -> tuple[TrainState, Any]:
    """Train with one loss on data stacked `[shares, networks, ...]`, all at once.

    Returns the networks, and their metrics `{split: {metric: [shares, networks, epochs]}}`.
    """
    optimizer = optax.adam(config.learning_rate)

    def loss(params: Any, state: Any, batch: Any, *, key: Any, train: bool) -> Any:
        outputs, state = model.apply(params, state, batch[0], key=key, train=train)
        return jnp.mean(LOSSES[name](outputs[:, 0], batch[1])), (state, {})

    steps = steps_per_epoch(data.train[0].shape[2], config.batch_size)
    epoch = scan_data(make_step(loss, optimizer), steps=steps, batch_size=config.batch_size)

    def one(seed: Any, data: Data) -> Any:
        def run(train_state: TrainState, _: None) -> tuple[TrainState, Any]:
            train_state, _ = epoch(train_state, data.train)
            splits = {"train": data.train, "validation": data.validation}
            return train_state, {key: measure(model, name, train_state.params, split) for key, split in splits.items()}

        return jax.lax.scan(run, init_train_state(model, optimizer, seed), length=config.epochs)

    over_networks = jax.vmap(one)
    over_shares = jax.vmap(over_networks, in_axes=(None, 0))
    trained: tuple[TrainState, Any] = jax.jit(over_shares)(network_seeds(config), data)
    return trained


class Outcome(NamedTuple):
    """What one loss comes to: each network's test accuracy, and what it makes of its training examples."""

    accuracy: np.ndarray
    """`[networks]`."""
    margins: np.ndarray
    """y f(x) / mean |f(x)| `[networks, examples]`, with the label y as given."""
    pull: np.ndarray
    """Each example's share of the sum of |dL/df| `[networks, examples]`."""
    from_flipped: float
    """How much of it the flipped examples have."""

    def concentration(self) -> np.ndarray:
        """How much of the sum the examples with the largest shares have: of the first, the first two, ..."""
        shares: np.ndarray = np.sort(self.pull, axis=1)[:, ::-1].cumsum(axis=1).mean(axis=0)
        return shares


def examine(model: Model, name: str, params: Any, data: Data) -> Outcome:
    """Measure trained networks."""
    outputs = jax.vmap(lambda params, x: model.apply(params, {}, x, train=False)[0][:, 0])(params, data.train[0])
    labels = jnp.asarray(data.train[1])
    pull = np.abs(jax.grad(lambda outputs: jnp.sum(LOSSES[name](outputs, labels)))(outputs))
    pull = pull / pull.sum(axis=1, keepdims=True)
    from_flipped = float(np.mean(np.sum(pull * data.flipped, axis=1)))
    margins = np.asarray(outputs * labels / jnp.mean(jnp.abs(outputs), axis=1, keepdims=True))
    accuracy = jax.vmap(lambda params, split: measure(model, name, params, split)["accuracy"])(params, data.test)
    return Outcome(np.asarray(accuracy, np.float64), margins, pull, from_flipped)


def summarize(outcomes: dict[str, Outcome]) -> dict[str, float]:
    """Return mean and deviation of the accuracies, and how far the exponential loss is behind, with its error."""
    numbers: dict[str, float] = {}
    for name, outcome in outcomes.items():
        numbers[name] = float(outcome.accuracy.mean())
        numbers[f"{name}_sd"] = float(outcome.accuracy.std(ddof=1))
        concentration = outcome.concentration()
        numbers[f"{name}_pull_of_top_5_percent"] = float(concentration[round(0.05 * len(concentration)) - 1])
        numbers[f"{name}_pull_of_flipped"] = outcome.from_flipped
    behind = outcomes["cross_entropy"].accuracy - outcomes["exponential"].accuracy
    numbers["behind"] = float(behind.mean())
    numbers["behind_error"] = float(behind.std(ddof=1) / np.sqrt(len(behind)))
    return numbers


def print_summary(title: str, numbers: dict[str, float]) -> None:
    """Print what `summarize` returned."""
    print(f"{title}: test accuracy")
    for name in LOSSES:
        pull = [numbers[f"{name}_pull_of_{which}"] for which in ("top_5_percent", "flipped")]
        print(
            f"  {name.replace('_', '-'):14} {numbers[name]:.4f} +- {numbers[f'{name}_sd']:.4f}; of the gradient, "
            f"{pull[0]:.1%} from 5% of the examples, {pull[1]:.1%} from those with flipped labels"
        )
    print(
        f"  exponential behind cross-entropy by {numbers['behind']:.4f} +- {numbers['behind_error']:.4f} (of the mean)"
    )


def record(folder: RunFolder, config: Config, steps: int, histories: dict[str, Any]) -> None:
    """Write the mean over networks epoch by epoch: all accuracies, and the exponential loss on clean labels."""
    for epoch in range(config.epochs):
        for split in ("train", "validation"):
            numbers = {
                f"accuracy_{name}_{labels}": float(np.mean(history[split]["accuracy"][number, :, epoch]))
                for number, labels in enumerate(("clean", "flipped"))
                for name, history in histories.items()
            }
            numbers["loss"] = float(np.mean(histories["exponential"][split]["loss"][0, :, epoch]))
            folder.append_metrics(step=(epoch + 1) * steps, epoch=epoch + 1, split=split, metrics=numbers)


def plot_margins(axes: Axes, outcomes: dict[str, Outcome], title: str) -> None:
    """Draw the share of training examples with a margin of at most so much, over all networks."""
    for name, outcome in outcomes.items():
        margins = np.sort(outcome.margins, axis=None)
        shares = np.arange(1, len(margins) + 1) / len(margins)
        axes.plot(margins, shares, color=COLORS[name], linestyle=DASHES[name], label=name.replace("_", "-"))
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set(xlim=(-3, 2), ylim=(2e-4, 1.1), yscale="log", title=title)
    axes.set_xlabel("margin $y\\,f(x)$ / mean $|f|$ (wrong left of 0)")
    axes.set_ylabel("share of training examples\nwith at most so much (log scale)")
    axes.legend(frameon=False)


def plot_accuracies(axes: Axes, all_outcomes: dict[str, dict[str, Outcome]], share: float) -> None:
    """Draw each network's test accuracy as a point, and the means."""
    for position, outcomes in enumerate(all_outcomes.values()):
        for number, (name, outcome) in enumerate(outcomes.items()):
            center = position + 0.25 * (number - 1)
            spread = np.linspace(-0.07, 0.07, len(outcome.accuracy))
            axes.plot(center + spread, outcome.accuracy, ".", color=COLORS[name], alpha=0.5, markersize=5)
            mean = outcome.accuracy.mean()
            axes.plot([center - 0.09, center + 0.09], [mean, mean], color=COLORS[name], linewidth=2.5)
            axes.annotate(f"{mean:.3f}", (center, 1.004), ha="center", color=COLORS[name], fontsize=9)
    axes.set_xticks(range(2), ["clean labels", f"{share:.0%} flipped in training"])
    axes.set(title="Test accuracy on clean labels, a point a network", ylabel="test accuracy")
    axes.set_ylim(top=1.015)


def plot_concentration(axes: Axes, outcomes: dict[str, Outcome], share: float) -> None:
    """Draw how much of the gradient comes from how few examples."""
    for name, outcome in outcomes.items():
        shares = outcome.concentration()
        of_examples = np.arange(1, len(shares) + 1) / len(shares)
        label = f"{name.replace('_', '-')}, {outcome.from_flipped:.0%} from flipped labels"
        axes.plot(of_examples, shares, color=COLORS[name], linestyle=DASHES[name], label=label)
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.6, label="if all had the same share")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), title=f"How few examples make up the gradient, {share:.0%} flipped")
    axes.set(xlabel="share of training examples, strongest first", ylabel="their share of the sum of $|dL/df|$")
    axes.legend(frameon=False, loc="lower right")


def plot(path: Path, all_outcomes: dict[str, dict[str, Outcome]], share: float) -> None:
    """Draw accuracies, what makes up the gradient, and the margins without and with flipped labels."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    plot_accuracies(panels[0, 0], all_outcomes, share)
    plot_concentration(panels[0, 1], all_outcomes["flipped"], share)
    plot_margins(panels[1, 0], all_outcomes["clean"], "Margins with clean labels")
    plot_margins(panels[1, 1], all_outcomes["flipped"], f"Margins with {share:.0%} flipped, labels as given")
    for axes in panels.flat:
        tidy(axes, grid=False)
    save(figure, path)


@in_run_folder(smoke={"epochs": 2, "networks": 2})
def run(config: Config, folder: RunFolder) -> Findings:
    """Train with every loss on clean and on flipped labels, measure, and draw."""
    model = mlp(MLPConfig((30, *config.hidden, 1)))
    shares = {"clean": 0.0, "flipped": config.flipped}
    draws = [[split_and_flip(int(seed), share) for seed in network_seeds(config)] for share in shares.values()]
    data = stack([stack(of_share) for of_share in draws])
    outcomes: dict[str, dict[str, Outcome]] = {labels: {} for labels in shares}
    histories, params = {}, {}
    for name in LOSSES:
        with working(f"training {len(shares) * config.networks} networks with {name}"):
            trained, histories[name] = jax.device_get(train_all(config, model, name, data))
        params[name] = trained.params
        for number, labels in enumerate(shares):
            of_share, its_data = jax.tree.map(lambda leaf, number=number: leaf[number], (trained.params, data))
            outcomes[labels][name] = examine(model, name, of_share, its_data)
    numbers = {labels: summarize(outcomes[labels]) for labels in shares}
    for labels, share in shares.items():
        print_summary(f"{share:.0%} of the training labels flipped", numbers[labels])

    record(folder, config, steps_per_epoch(data.train[0].shape[2], config.batch_size), histories)

    def draw() -> None:
        plot_curves(folder.read_metrics(), folder.path / "curves.png")
        plot(folder.path / "exponential_loss.png", outcomes, config.flipped)

    return Findings(numbers, params, draw=draw)


if __name__ == "__main__":
    main(Config, run, __doc__)
