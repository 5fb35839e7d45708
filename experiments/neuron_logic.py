"""Logic by threshold neurons: AND, OR and NOT by one, XOR by a further input or by two layers.

A neuron fires where its weighted sum exceeds 0, so that it separates by a straight line. AND = [x1 + x2 - 3/2 > 0],
OR = [x1 + x2 - 1/2 > 0], NOT = [-x1 + 1/2 > 0]. No line separates XOR, but [x1 + x2 - 2 x1 x2 - 1/2 > 0] does it with
the product as a third input, and [OR - AND - 1/2 > 0] with a second layer. Nothing is learned.

expected:  accuracy 1 of all five, for every seed
time:      3 s of processor time
compile:   1.9 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.neuron_logic --seed 0
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from jaxnets.experiment import Findings, Settings, in_run_folder, main
from jaxnets.playground.logic import AND, NOT, OR, XOR_OF_LAYERS, XOR_OF_PRODUCT, one_neuron, product_neuron, two_layers
from jaxnets.report import RunFolder
from jaxnets.report.style import BLUE, ORANGE, save


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Settings of the experiment; nothing is random, and there is nothing to shorten."""


class Gate(NamedTuple):
    """A function of logic, and what computes it."""

    title: str
    formula: str
    params: Any
    apply: Callable[[Any, Any], Any]
    inputs: int
    truth: Callable[..., bool]


GATES = {
    "and": Gate("AND", "$x_1 + x_2 - 3/2 > 0$", AND, one_neuron, 2, lambda a, b: a and b),
    "or": Gate("OR", "$x_1 + x_2 - 1/2 > 0$", OR, one_neuron, 2, lambda a, b: a or b),
    "not": Gate("NOT", "$-x_1 + 1/2 > 0$", NOT, one_neuron, 1, lambda a: not a),
    "xor_product": Gate(
        "XOR, a further input",
        "$x_1 + x_2 - 2 x_1 x_2 - 1/2 > 0$",
        XOR_OF_PRODUCT,
        product_neuron,
        2,
        lambda a, b: a != b,
    ),
    "xor_layers": Gate("XOR, two layers", "OR $-$ AND $- 1/2 > 0$", XOR_OF_LAYERS, two_layers, 2, lambda a, b: a != b),
}


def truth_table(gate: Gate) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All inputs `[rows, inputs]`, what the network makes of them `[rows]`, and what is right `[rows]`."""
    inputs = np.array(list(itertools.product([0, 1], repeat=gate.inputs)))
    outputs = np.asarray(gate.apply(gate.params, jnp.asarray(inputs, jnp.float32))).astype(int)
    return inputs, outputs, np.array([int(gate.truth(*row)) for row in inputs.tolist()])


def print_table(gate: Gate) -> None:
    """Print the truth table."""
    inputs, outputs, right = truth_table(gate)
    names = [f"x{number + 1}" for number in range(gate.inputs)]
    print(f"{gate.title}\n  {' '.join(names)}  output  right")
    for row, output, expected in zip(inputs, outputs, right, strict=True):
        print(f"  {' '.join(f'{value:2d}' for value in row)}  {output:6d}  {expected:5d}")


def plot_half_planes(path: Path) -> None:
    """Draw where each network gives 1, and its truth table as points."""
    figure = Figure(figsize=(15, 4.1), layout="constrained")
    line = np.linspace(-0.5, 1.5, 400)  # not on 1/2, where rounding decides
    grid = np.stack(np.meshgrid(line, line), axis=-1)
    for axes, gate in zip(figure.subplots(1, len(GATES)), GATES.values(), strict=True):
        regions = np.asarray(gate.apply(gate.params, jnp.asarray(grid[..., : gate.inputs], jnp.float32)))
        axes.contourf(line, line, regions, levels=[-0.5, 0.5, 1.5], colors=["#F2F2F2", "#A6CEE3"])
        axes.contour(line, line, regions, levels=[0.5], colors=BLUE, linewidths=1.5)
        inputs, _, right = truth_table(gate)
        heights = inputs[:, 1] if gate.inputs == 2 else np.full(len(inputs), 0.5)
        for value, color in ((0, "white"), (1, ORANGE)):
            chosen = right == value
            axes.scatter(inputs[chosen, 0], heights[chosen], s=120, color=color, edgecolor="black", zorder=3)
        axes.set_title(f"{gate.title}\n{gate.formula}", fontsize=12)
        axes.set(xlabel="input $x_1$", xticks=[0, 1], yticks=[0, 1], aspect="equal", xlim=(-0.5, 1.5), ylim=(-0.5, 1.5))
        if gate.inputs == 2:
            axes.set_ylabel("input $x_2$", labelpad=-4)
        else:
            axes.set_yticks([])
    dot: dict[str, Any] = {"marker": "o", "linestyle": "none", "markeredgecolor": "black", "markersize": 10}
    square: dict[str, Any] = {"marker": "s", "linestyle": "none", "markersize": 11}
    handles = [
        Line2D([], [], color="white", label="should give 0", **dot),
        Line2D([], [], color=ORANGE, label="should give 1", **dot),
        Line2D([], [], color="#A6CEE3", label="the network gives 1", **square),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=12)
    save(figure, path)


@in_run_folder()
def run(config: Config, folder: RunFolder) -> Findings:
    """Print the truth tables, and draw the half-planes."""
    accuracies = {}
    for name, gate in GATES.items():
        print_table(gate)
        _, outputs, right = truth_table(gate)
        accuracies[f"accuracy_{name}"] = float(np.mean(outputs == right))
    numbers = {"loss": 1 - float(np.mean(list(accuracies.values()))), **accuracies}  # the share that is wrong
    folder.append_metrics(step=0, epoch=0.0, split="test", metrics=numbers)
    print(f"accuracy {1 - numbers['loss']:.4f} of {len(GATES)} networks")
    found = Findings({"test": numbers}, {name: gate.params for name, gate in GATES.items()})
    return found._replace(draw=lambda: plot_half_planes(folder.path / "half_planes.png"))


if __name__ == "__main__":
    main(Config, run, __doc__)
