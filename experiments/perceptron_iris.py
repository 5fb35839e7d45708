"""Rosenblatt's perceptron on two irises, which a line separates, and on XOR, which none does.

Setosa and versicolor by the lengths of sepal and petal: the rule picks flowers at random until all are right, in many
random orders at once. Novikoff's theorem bounds the mistakes by (radius / margin)^2 from weights of 0; the largest
margin is that of a support vector machine. On XOR mistakes never end, and the weights stay bounded.

expected:  all 1,000 orders converge, with 9.05 +- 0.22 mistakes from weights of 0 over the seeds 0 to 2 and 21 at most,
           where the bound is 267 to 390; test accuracy 0.998 +- 0.004;
           on XOR 4,743 +- 81 mistakes in 10,000 picks, and weights never longer than 4.7
time:      10 s of processor time
compile:   8.8 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.perceptron_iris --seed 0
"""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.support.iris import two_irises
from jaxnets import subkey
from jaxnets.config import PositiveInt
from jaxnets.data import Split
from jaxnets.experiment import Findings, Settings, in_run_folder, main
from jaxnets.models import PerceptronConfig, perceptron, perceptron_fit, perceptron_path
from jaxnets.report import RunFolder, plot_curves, working
from jaxnets.report.style import BLUE, GRAY, GREEN, ORANGE, save, tidy

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([0, 1, 1, 0])


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of the experiment."""

    seed: int = 0
    """Of the split, the initial weights and the picks."""
    orders: PositiveInt = 1000
    """Random orders, from weights of 0 and from random weights each."""
    max_picks: PositiveInt = 20_000
    """After how many picks an order gives up."""
    picks: PositiveInt = 10_000
    """Picks on XOR, and of the one order of irises that is drawn."""
    xor_orders: PositiveInt = 100
    """Orders on XOR."""


def with_one(x: np.ndarray) -> np.ndarray:
    """Append the input that is always 1, whose weight is the threshold."""
    return np.pad(x, ((0, 0), (0, 1)), constant_values=1)


class Bound(NamedTuple):
    """What Novikoff's theorem needs: the best direction `[features]`, its margin, and the longest example's length."""

    direction: np.ndarray
    margin: float
    radius: float

    def from_zero(self) -> float:
        """The most mistakes from weights of 0: (radius / margin)^2."""
        return (self.radius / self.margin) ** 2

    def mistakes(self, weights: np.ndarray) -> np.ndarray:
        """The most mistakes from weights w `[..., features]`: (radius / margin)^2 from w = 0.

        After k mistakes, the weights are no longer than the root of |w|^2 + k radius^2, and at least
        <w, direction> + k margin long. The k where both are equal solves a quadratic equation.
        """
        along, square = weights @ self.direction, np.sum(weights**2, axis=-1)
        half = self.radius**2 / 2 - along * self.margin
        most: np.ndarray = (half + np.sqrt(half**2 + self.margin**2 * (square - along**2))) / self.margin**2
        return most


def novikoff(x: np.ndarray, labels: np.ndarray) -> Bound:
    """Find the largest margin of a hyperplane through the origin by a support vector machine."""
    from sklearn.svm import SVC

    signed = np.where(labels == 1, 1.0, -1.0)[:, None] * x
    # With every example mirrored, the machine's own threshold is 0; a large C forbids errors.
    machine = SVC(kernel="linear", C=1e9).fit(np.concatenate([signed, -signed]), np.repeat([1, -1], len(x)))
    direction = machine.coef_[0] / np.linalg.norm(machine.coef_)
    return Bound(direction, float(np.min(signed @ direction)), float(np.linalg.norm(x, axis=1).max()))


def learn_all(config: Config, x: np.ndarray, labels: np.ndarray, scale: float) -> tuple[np.ndarray, Any]:
    """Learn in all orders at once from normal weights of deviation `scale`; returns the initial weights too."""
    model = perceptron(PerceptronConfig(x.shape[1]), kernel_init=jax.nn.initializers.normal(scale))
    keys = jax.random.split(jax.random.key(config.seed), config.orders)
    initial, _ = jax.vmap(lambda key: model.init(subkey(key, "weights")))(keys)
    fit = functools.partial(perceptron_fit, max_picks=config.max_picks)
    over_orders = jax.vmap(lambda params, key: fit(params, jnp.asarray(x), jnp.asarray(labels), key=key))
    learned = jax.jit(over_orders)(initial, keys)
    return np.asarray(initial["kernel"][..., 0], np.float64), jax.device_get(learned)


def summarize(name: str, initial: np.ndarray, learned: Any, bound: Bound, test: Split) -> dict[str, float]:
    """Print and return the mistakes, their bound and the accuracy on the test flowers."""
    bounds = bound.mistakes(initial)
    x = jnp.asarray(test[0])
    model = perceptron(PerceptronConfig(x.shape[1]))
    outputs, _ = jax.vmap(lambda params: model.apply(params, {}, x, train=False))(learned.params)
    mistakes = learned.mistakes.astype(np.float64)
    numbers = {
        "mistakes": float(mistakes.mean()),
        "mistakes_sd": float(mistakes.std(ddof=1)),
        "mistakes_most": float(mistakes.max()),
        "picks": float(learned.picks.mean()),
        "bound_least": float(bounds.min()),
        "share_of_bound": float(np.max(mistakes / bounds)),
        "converged": float(learned.converged.mean()),
        "accuracy": float(np.mean(np.asarray(outputs) == test[1])),
    }
    print(
        f"from {name} weights: {numbers['converged']:.1%} of {len(mistakes)} orders converged after "
        f"{numbers['picks']:.0f} picks and {numbers['mistakes']:.1f} +- {numbers['mistakes_sd']:.1f} mistakes, "
        f"at most {numbers['mistakes_most']:.0f};\n  the bound is {numbers['bound_least']:.1f} at least, of which the "
        f"most mistakes are {numbers['share_of_bound']:.1%}; test accuracy {numbers['accuracy']:.4f}"
    )
    return numbers


class Trace(NamedTuple):
    """Orders pick by pick: the weights after each `[orders, picks, features]`; the mistakes, bool `[orders, picks]`."""

    weights: np.ndarray
    mistakes: np.ndarray


def follow(config: Config, x: np.ndarray, labels: np.ndarray, orders: int) -> Trace:
    """Follow the first orders of `learn_all` from random weights, on any examples, for `config.picks` picks."""
    model = perceptron(PerceptronConfig(x.shape[1]))

    def path(key: Any) -> Any:
        initial, _ = model.init(subkey(key, "weights"))
        return perceptron_path(initial, jnp.asarray(x), jnp.asarray(labels), key=key, picks=config.picks)

    keys = jax.random.split(jax.random.key(config.seed), config.orders)[:orders]
    params, mistakes = jax.jit(jax.vmap(path))(keys)
    return Trace(np.asarray(params["kernel"][..., 0]), np.asarray(mistakes))


def summarize_xor(trace: Trace) -> dict[str, float]:
    """Print and return how often the rule still errs on XOR, and how long the weights become."""
    last = trace.mistakes[:, -(trace.mistakes.shape[1] // 10) :]
    numbers = {
        "mistakes": float(trace.mistakes.sum(axis=1).mean()),
        "mistakes_in_last_tenth_least": float(last.sum(axis=1).min()),
        "longest_weights": float(np.linalg.norm(trace.weights, axis=-1).max()),
    }
    print(
        f"XOR, {trace.mistakes.shape[1]} picks in {len(trace.mistakes)} orders: {numbers['mistakes']:.0f} mistakes, in "
        f"the last tenth at least {numbers['mistakes_in_last_tenth_least']:.0f}; the weights are never longer than "
        f"{numbers['longest_weights']:.2f}"
    )
    return numbers


def criterion(weights: np.ndarray, x: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The perceptron's criterion, the mean of max(0, -y <w, x>), and the accuracy."""
    sums = x @ weights
    loss = np.maximum(0, np.where(labels == 1, -sums, sums)).mean()
    return {"loss": float(loss), "accuracy": float(np.mean((sums >= 0) == labels))}


def record(folder: RunFolder, on_iris: Trace, train: Split, test: Split) -> None:
    """Write what the weights of the order that is drawn were worth along its picks."""
    weights, mistakes = on_iris.weights[0], on_iris.mistakes[0]
    last = min(2 * int(np.max(np.flatnonzero(mistakes), initial=9) + 1), len(mistakes))  # after that, nothing happens
    for pick in range(1, last + 1):
        numbers = criterion(weights[pick - 1], *train) | {"mistakes": float(mistakes[:pick].sum())}
        folder.append_metrics(step=pick, epoch=pick / len(train[0]), split="train", metrics=numbers)
    numbers = criterion(weights[-1], *test)
    folder.append_metrics(step=last, epoch=last / len(train[0]), split="test", metrics=numbers)


def plot_flowers(axes: Axes, train: Split, test: Split, learned: np.ndarray, bound: Bound) -> None:
    """Draw the flowers, the lines of all orders, and the line of the largest margin."""
    for label, (name, color, marker) in enumerate([("setosa", BLUE, "o"), ("versicolor", ORANGE, "s")]):
        for suffix, (x, labels), face in (("", train, color), (", test", test, "white")):
            chosen = x[labels == label]
            axes.scatter(
                chosen[:, 0],
                chosen[:, 1],
                s=26,
                color=face,
                edgecolor=color,
                marker=marker,
                label=name + suffix,
                zorder=3,
            )
    ends = np.array([4.0, 7.2])

    def line(w: np.ndarray) -> np.ndarray:
        heights: np.ndarray = -(w[0] * ends + w[2]) / w[1]
        return heights

    orders = f"{min(len(learned), 50)} orders"
    for number, w in enumerate(learned[:50]):
        axes.plot(ends, line(w), color=GRAY, alpha=0.2, linewidth=0.8, label=orders if number == 0 else None)
    axes.plot(ends, line(learned[0]), color="black", linewidth=1.8, label="the order drawn below")
    axes.plot(ends, line(bound.direction), color=GREEN, linewidth=1.8, linestyle="--", label="largest margin")
    axes.set(xlabel="sepal length (cm)", ylabel="petal length (cm)", xlim=tuple(ends), ylim=(0, 7.5))
    axes.set_title("Every order ends at another line")
    axes.legend(frameon=False, fontsize=8, ncols=2, loc="upper left")


def plot_mistakes_of_orders(axes: Axes, mistakes: dict[str, np.ndarray], bound: float) -> None:
    """Draw the share of orders that get along with so many mistakes, and the bound."""
    most = int(2 * bound)
    for (name, values), color, style in zip(mistakes.items(), (BLUE, ORANGE), ("-", "--"), strict=True):
        shares = np.bincount(values, minlength=most).cumsum() / len(values)
        label = f"from {name} weights, mean {values.mean():.1f}"
        axes.step(np.arange(len(shares)), shares, where="post", color=color, linestyle=style, label=label)
    axes.axvline(bound, color=GREEN, linewidth=1.8, label=f"Novikoff's bound, {bound:.0f}")
    axes.set(xscale="log", xlabel="mistakes until all are right (log scale)", xlim=(1, most), ylim=(0, 1.05))
    axes.set_ylabel("share of orders with at most so many")
    axes.set_title("Far fewer mistakes than the bound allows")
    axes.legend(frameon=False, fontsize=8, loc="center", bbox_to_anchor=(0.65, 0.4))


def plot_picks(counts: Axes, lengths: Axes, on_iris: Trace, on_xor: Trace) -> None:
    """Draw mistakes over picks on both, and the length of the weights on XOR."""
    picks = np.arange(1, on_xor.mistakes.shape[1] + 1)
    for trace, name, color, style in ((on_xor, "XOR", ORANGE, "-"), (on_iris, "irises", BLUE, "--")):
        mistakes = trace.mistakes[0].cumsum()
        begun = mistakes > 0  # a logarithmic axis has no 0
        counts.plot(picks[begun], mistakes[begun], color=color, linestyle=style, label=name, linewidth=1.8)
    counts.set(xscale="log", yscale="log", xlabel="picks (log scale)", ylabel="mistakes so far (log scale)")
    counts.set_title("Mistakes end on irises, never on XOR")
    counts.legend(frameon=False)
    norms = np.linalg.norm(on_xor.weights, axis=-1)
    longest = np.maximum.accumulate(norms.max(axis=0))
    lengths.plot(picks, longest, color=ORANGE, linewidth=1.8, label=f"longest so far in {len(norms)} orders")
    lengths.plot(picks, norms[0], color=BLUE, linewidth=0.3, label="one order")
    lengths.set(xlabel="picks", ylabel="length of the weights", ylim=(0, 1.3 * norms.max()))
    lengths.set_title("On XOR the weights stay bounded")
    for line in lengths.legend(frameon=False, ncols=2).get_lines():
        line.set_linewidth(1.8)


def plot(path: Path, train: Split, test: Split, runs: Any, bound: Bound, on_iris: Trace, on_xor: Trace) -> None:
    """Draw the flowers and what was learned of them, and the mistakes on both."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    plot_flowers(panels[0, 0], train, test, runs["random"][1].params["kernel"][..., 0], bound)
    mistakes = {name: learned.mistakes for name, (_, learned) in runs.items()}
    plot_mistakes_of_orders(panels[0, 1], mistakes, bound.from_zero())
    plot_picks(panels[1, 0], panels[1, 1], on_iris, on_xor)
    for axes in panels.flat:
        tidy(axes, grid=False)
    save(figure, path)


@in_run_folder(smoke={"orders": 4, "picks": 100, "xor_orders": 2})
def run(config: Config, folder: RunFolder) -> Findings:
    """Learn irises and XOR, compare with the bound, and draw."""
    train, test = ((with_one(x), labels) for x, labels in two_irises(config.seed))
    bound = novikoff(*train)
    print(f"{len(train[0])} irises: radius {bound.radius:.3f}, margin {bound.margin:.4f}, ", end="")
    print(f"(radius / margin)^2 = {bound.from_zero():.1f}")
    with working(f"learning in {config.orders} orders"):
        runs = {name: learn_all(config, *train, scale) for name, scale in (("zero", 0.0), ("random", 1.0))}
    numbers = {name: summarize(name, *learned, bound, test) for name, learned in runs.items()}
    with working(f"picking {config.picks} examples of irises and of XOR"):
        on_iris = follow(config, *train, orders=1)
        on_xor = follow(config, with_one(XOR[0]), XOR[1], orders=config.xor_orders)
    numbers["xor"] = summarize_xor(on_xor)
    numbers["bound"] = {"radius": bound.radius, "margin": bound.margin, "mistakes": bound.from_zero()}

    record(folder, on_iris, train, test)

    def draw() -> None:
        plot_curves(folder.read_metrics(), folder.path / "curves.png")
        plot(folder.path / "perceptron.png", train, test, runs, bound, on_iris, on_xor)

    return Findings(numbers, {name: learned.params for name, (_, learned) in runs.items()}, draw=draw)


if __name__ == "__main__":
    main(Config, run, __doc__)
