"""Addition of numbers up to 999 by a small GPT: answers at once, with the last digit first, and with a scratchpad.

All networks have the same size and train on as many characters, so that a scratchpad is paid for by fewer steps. They
are asked for 2,000 sums that they were not trained on, and for longer ones; a sum counts if every digit is right.

expected:  share of held-out sums right, from 1,000, 3,000 and 10,000 sums, means of the seeds 0 to 2: plain 0.586,
           0.850, 0.847; reversed 0.857, 0.866, 0.864 (both with jax 0.11.2); scratchpad 0.907, 0.967, 0.979; longer
           sums are all wrong
time:      7 min of processor time for the forms plain and reversed; the scratchpad was a run of its own
compile:   11 s of processor time until the first steps are done, on an Intel Xeon
hardware:  one core of an Intel Xeon beside other work, jax 0.10.2
command:   python -m experiments.arithmetic_reasoning --seed 0
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.support.arithmetic import ROWS, NetworkSettings, encode, make_answer, make_network, make_train
from jaxnets.config import PositiveInt
from jaxnets.data import addition_pairs, read_sum, write_addition
from jaxnets.data.arithmetic import Form
from jaxnets.experiment import Findings, in_run_folder, main
from jaxnets.report import RunFolder, plot_curves
from jaxnets.report.style import BLUE, GRAY, GREEN, ORANGE, save, tidy

FORMS: tuple[Form, ...] = get_args(Form)
COLORS = dict(zip(FORMS, (BLUE, ORANGE, GREEN), strict=True))
CONTEXT = 72
"""Enough for five digits on the scratchpad."""
PUBLISHED: dict[Form, dict[int, float]] = {
    "plain": {500: 0, 1000: 0.4, 2000: 1.7, 3000: 28.7, 4000: 62.3, 5000: 81.1, 10_000: 87.4, 20_000: 90.1},
    "reversed": {500: 0, 1000: 1.6, 2000: 30.6, 3000: 79.1, 4000: 98.2, 5000: 99.8, 10_000: 100, 20_000: 100},
    "scratchpad": {500: 92.8, 1000: 99.8, 2000: 99.6, 3000: 100, 4000: 100, 5000: 99.9, 10_000: 100, 20_000: 100},
}
"""Lee et al. 2023, percent of 9,900 sums, figure on sample efficiency; their detailed scratchpad."""


@dataclasses.dataclass(frozen=True)
class Config(NetworkSettings):
    """Settings of the experiment."""

    characters: PositiveInt = 2_560_000
    """That a network is trained on, whatever the form, over and over: 1,000 steps with the scratchpad."""
    forms: tuple[Form, ...] = FORMS
    """In which a network writes its answers."""
    examples: tuple[int, ...] = (1_000, 3_000, 10_000)
    """How many sums to train on."""
    held_out: PositiveInt = 2_000
    """How many other sums to ask for."""
    most_digits: int = 5
    """Of the longest numbers that are asked for; networks are trained on up to three."""
    size: Literal["small", "reference"] = "small"
    """The settings here, or those of Lee et al. instead, 6 blocks of 384 features, for an accelerator; not measured."""

    @property
    def reference(self) -> bool:
        """Whether the settings of Lee et al. apply."""
        return self.size == "reference"


def questions_by_digits(config: Config, known: set[tuple[int, int]]) -> dict[int, list[tuple[int, int]]]:
    """Pairs of numbers with exactly so many digits, none of which was trained on."""
    counts = {digits: min(config.held_out // 4, 100**digits) for digits in range(1, config.most_digits + 1)}
    drawn = {n: addition_pairs(count, config.seed + 1, digits=(n, n)).tolist() for n, count in counts.items()}
    return {n: [(a, b) for a, b in pairs if (a, b) not in known] for n, pairs in drawn.items()}


def accuracy(answer: Any, params: Any, pairs: Sequence[tuple[int, int]], form: Form) -> float:
    """Share of the sums whose every digit is right."""
    written = answer(params, [f"{first}+{second}=" for first, second in pairs])
    right = [read_sum(text, form) == first + second for text, (first, second) in zip(written, pairs, strict=True)]
    return float(np.mean(right))


def show(answer: Any, params: Any, pairs: Sequence[tuple[int, int]], form: Form) -> list[str]:
    """Lines with a question, what the network writes, and what is right if that is wrong."""
    lines = []
    for (first, second), text in zip(pairs, answer(params, [f"{a}+{b}=" for a, b in pairs]), strict=True):
        wrong = read_sum(text, form) != first + second
        lines.append(f"{first}+{second}={text}" + wrong * f"   wrong, it is {first + second}")
    return lines


class Network(NamedTuple):
    """What is trained and asked in one form, `width` being the longest sum with its end."""

    form: Form
    width: int
    train: Callable[..., Any]
    answer: Callable[..., list[str]]


def make(config: Config, form: Form) -> Network:
    """Make what all networks of a form share, so that it is compiled once."""
    settings = make_network(config, context=CONTEXT)
    width = len(write_addition(999, 999, form)) + 1
    train = make_train(config, settings, config.characters // (config.batch_size * width))
    largest = 10**config.most_digits - 1
    question, _, answer = write_addition(largest, largest, form).partition("=")
    return Network(form, width, train, make_answer(settings, len(question) + 1, len(answer) + 1))


def measure(
    config: Config, folder: RunFolder, network: Network, pairs: np.ndarray, held_out: np.ndarray
) -> tuple[dict[str, float], Any, list[str]]:
    """Train a network on pairs and ask it; returns the measured accuracies, its parameters, and some of its answers."""
    form, answer, asked = network.form, network.answer, [(a, b) for a, b in held_out.tolist()]

    def log(step: int, loss: float, params: Any) -> None:
        measured = {"train": {f"{form} loss": loss}}
        measured["validation"] = {f"{form} accuracy": accuracy(answer, params, asked[:ROWS], form)}
        for split, numbers in measured.items():
            epoch = step * config.batch_size / len(pairs)
            folder.append_metrics(step=step, epoch=epoch, split=split, metrics=numbers | {"examples": len(pairs)})
        print(f"  {form}, {len(pairs):,} sums, step {step}: {measured}", flush=True)

    texts = [write_addition(first, second, form) for first, second in pairs.tolist()]
    params = network.train(*encode(texts, network.width), log)
    measured = {"held_out": accuracy(answer, params, asked, form)}
    by_digits = questions_by_digits(config, set(map(tuple, pairs.tolist())))
    measured |= {f"{digits}_digits": accuracy(answer, params, longer, form) for digits, longer in by_digits.items()}
    shown = [*asked[:6], *by_digits[config.most_digits][:3]]
    return measured, params, [f"{form}, {len(pairs):,} sums", *show(answer, params, shown, form), ""]


def draw_by_examples(axes: Axes, config: Config, found: dict[str, dict[str, float]]) -> None:
    """Accuracy over the number of examples, ours and the published one."""
    for form in config.forms:
        published = PUBLISHED[form]
        axes.plot(list(published), list(published.values()), ":", color=COLORS[form], linewidth=1.5)
        ours = [100 * found[f"{form} {examples}"]["held_out"] for examples in config.examples]
        axes.plot(config.examples, ours, "-o", color=COLORS[form], label=form)
    axes.plot([], [], ":", color=GRAY, label="Lee et al., a larger network")
    axes.set_xscale("log")
    ticks = sorted({500, *config.examples, 20_000})
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("sums to learn from (log scale)")
    axes.set_ylabel("sums right, %")
    axes.set_title("sums that were not trained on")
    tidy(axes)


def draw_by_digits(axes: Axes, config: Config, found: dict[str, dict[str, float]]) -> None:
    """Accuracy over the digits of both numbers, of the networks with the most examples."""
    digits = range(1, config.most_digits + 1)
    width = 0.8 / len(config.forms)
    for place, form in enumerate(config.forms):
        of_form = found[f"{form} {config.examples[-1]}"]
        heights = [100 * of_form[f"{number}_digits"] for number in digits]
        left = np.array(digits) + (place - (len(config.forms) - 1) / 2) * width
        bars = axes.bar(left, heights, width, color=COLORS[form], label=form)
        axes.bar_label(bars, [f"{height:.0f}" for height in heights], fontsize=8)
    axes.axvline(3.5, color=GRAY, linestyle="--", linewidth=1)
    axes.text(3.55, 104, "longer than trained on", color=GRAY, fontsize=9)
    axes.set_ylim(0, 112)
    axes.set_xticks(list(digits))
    axes.set_xlabel("digits of both numbers")
    axes.set_ylabel("sums right, %")
    axes.set_title(f"{config.examples[-1]:,} sums to learn from")
    tidy(axes)


def plot(config: Config, found: dict[str, dict[str, float]], path: Path) -> None:
    """Draw both panels."""
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_by_examples(left, config, found)
    draw_by_digits(right, config, found)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    save(figure, path)


SMOKE: dict[str, Any] = {
    "layers": 1,
    "features": 16,
    "characters": 1_000,
    "batch_size": 8,
    "examples": (16, 32),
    "held_out": 16,
}
REFERENCE: dict[str, Any] = {
    "layers": 6,
    "heads": 6,
    "features": 384,
    "batch_size": 256,
    "learning_rate": 1e-3,
    "dropout_rate": 0.2,
    "characters": 5_000 * 256 * 256,
    "examples": (500, 1_000, 2_000, 3_000, 4_000, 5_000, 10_000),
    "held_out": 9_900,
}


@in_run_folder(reference=REFERENCE, smoke=SMOKE | {"most_digits": 4, "forms": ("reversed",)})
def run(config: Config, folder: RunFolder) -> Findings:
    """Train a network for each form and number of examples, and draw."""
    pairs = addition_pairs(config.held_out + max(config.examples), config.seed)
    held_out, train_pairs = pairs[: config.held_out], pairs[config.held_out :]
    found, networks, lines = {}, {}, []
    for form in config.forms:
        network = make(config, form)
        for examples in config.examples:
            name = f"{form} {examples}"
            found[name], networks[name], answers = measure(config, folder, network, train_pairs[:examples], held_out)
            print(f"{name}: " + ", ".join(f"{key} {value:.4f}" for key, value in found[name].items()), flush=True)
            lines += answers
    (folder.path / "answers.txt").write_text("\n".join(lines), encoding="utf-8")

    def draw() -> None:
        last = [row for row in folder.read_metrics() if row["examples"] == config.examples[-1]]
        plot_curves([{k: v for k, v in row.items() if k != "examples"} for row in last], folder.path / "curves.png")
        plot(config, found, folder.path / "arithmetic_reasoning.png")

    return Findings(found, networks, draw=draw)


if __name__ == "__main__":
    main(Config, run, __doc__)
