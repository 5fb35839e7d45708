"""The TensorFlow Playground: a decision boundary animated as it is learned, all data sets, and sweeps.

The loss is the mean of (output - label)^2 / 2. The published 0.552 of a linear layer has the factor 1/2,
too: without it the mean of our draws would be 1.016. The points of the animated run are a set on which the published
0.018 is reached; how often it is on others, the many draws say.

expected:  circle, 3 sigmoid neurons, 1,000 epochs, over the seeds 0 to 2: test loss 0.015 +- 0.002 (0.012 to 0.017),
           training loss 0.008 +- 0.001; over 3 x 64 draws of points and initial values the median test loss is
           0.017 +- 0.002, and 54 +- 7% of them come to 0.018;
           one linear layer of 2: 0.508, of 6,000 draws 0.8% come to 0.552 or more;
           mean test loss of 3 x 16 draws: xor 0.051, gauss 0.0011, spiral 0.014, plane 0.0000, multi-gauss 0.011
time:      2 to 4 min beside other work on the machine, most of it compilation; 27 s with --no-survey
compile:   5.9 s of processor time until the first steps are done, on an Intel Xeon
hardware:  2 cores of an AMD EPYC, jax 0.10.2
command:   python -m experiments.playground --seed 0
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.support.many import consecutive_seeds
from experiments.support.playground_draws import train_draws
from experiments.support.playground_figures import animate, plot_losses, plot_sets, plot_sweeps
from experiments.support.playground_survey import GROUPS, LINEAR_DRAWS, describe, outcome, survey, table
from experiments.support.timing import compile_and_run
from jaxnets.config import PositiveInt
from jaxnets.errors import SettingError
from jaxnets.experiment import Findings, Settings, in_run_folder, main
from jaxnets.playground.network import make_data, make_trainer
from jaxnets.playground.settings import EXAMPLES, PlaygroundSettings
from jaxnets.report import RunFolder, working
from jaxnets.training import steps_per_epoch

PUBLISHED = 0.018
"""The published test loss on the circle, with 3 sigmoid neurons."""
PUBLISHED_LINEAR = 0.552
"""The published test loss with one linear layer of 2."""


@dataclasses.dataclass(frozen=True)
class Config(Settings, PlaygroundSettings):
    """Settings of the experiment; the default is the published run on the circle."""

    seed: int = 0
    """Of the initial values, and of all the draws."""
    draws: PositiveInt = 64
    """Networks of the same settings, each with points and initial values of its own."""
    survey: bool = True
    """Whether to train the other data sets and the sweeps, too."""
    survey_draws: PositiveInt = 16
    """Networks per setting of these."""
    frames: PositiveInt = 36
    """Of the animation, at most."""

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(PlaygroundSettings)}
        try:
            PlaygroundSettings(**values)
        except ValueError as error:
            raise SettingError(str(error).removeprefix("PlaygroundSettings: ")) from None


def survey_groups(config: Config) -> dict[str, dict[str, PlaygroundSettings]]:
    """What the survey trains; of a smoke run a set of each kind and one sweep, three epochs each."""
    if not config.smoke:
        return GROUPS
    few = {"set": ("gauss", "plane"), "l1": ("0", "0.1")}
    return {
        group: {label: dataclasses.replace(GROUPS[group][label], epochs=3) for label in labels}
        for group, labels in few.items()
    }


def seeds_of_draws(seed: int, draws: int) -> list[int]:
    """As many seeds as there are draws, none of them also of another run's seed."""
    return [int(number) for number in consecutive_seeds(seed * draws, draws)]


def numbers_after(history: dict[str, Any], split: str, epoch: int) -> dict[str, float]:
    """The metrics of one split after an epoch."""
    return {name: float(values[epoch]) for name, values in history[split].items()}


def record(folder: RunFolder, config: Config, history: dict[str, Any]) -> None:
    """Write about 100 of the epochs into metrics.jsonl, the last one among them."""
    steps = steps_per_epoch(len(make_data(config, config.data_seed).train[0]), config.batch_size)
    every = max(1, config.epochs // 100)
    for epoch in sorted({*range(every, config.epochs, every), config.epochs}):
        for split in ("train", "test"):
            measured = numbers_after(history, split, epoch)
            folder.append_metrics(step=epoch * steps, epoch=epoch, split=split, metrics=measured)


def spread(losses: np.ndarray) -> dict[str, float]:
    """What the test losses of many draws were."""
    return {
        "n": len(losses),
        "mean": float(losses.mean()),
        "standard_deviation": float(losses.std(ddof=1)),
        "median": float(np.median(losses)),
        "max": float(losses.max()),
    }


def run_survey(folder: Path, config: Config) -> tuple[dict[str, dict[str, float]], Mapping[str, Any]]:
    """Train everything else and write its table; returns the mean test losses, and all outcomes for the pictures."""
    settings, draws = EXAMPLES["linear"], LINEAR_DRAWS
    if config.smoke:
        settings, draws = dataclasses.replace(settings, epochs=3), 2
    linear = outcome(settings, seeds_of_draws(config.seed, draws))
    groups = survey(survey_groups(config), seeds_of_draws(config.seed, config.survey_draws))
    text = table({"linear": {"": linear}, **groups})
    (folder / "survey.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    means = {
        group: {label: float(found.test.mean()) for label, found in outcomes.items()}
        for group, outcomes in groups.items()
    }
    share = {f"share_from_{PUBLISHED_LINEAR}": float(np.mean(linear.test >= PUBLISHED_LINEAR))}
    return {"linear": spread(linear.test) | share, **means}, groups


def plot_survey(folder: Path, groups: Mapping[str, Any]) -> None:
    """Draw the outcomes of the survey."""
    plot_sets(folder / "sets.png", groups["set"])
    plot_sweeps(folder / "sweeps.png", {group: outcomes for group, outcomes in groups.items() if group != "set"})


def as_text(numbers: dict[str, float]) -> str:
    """Names and numbers in a line."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in numbers.items())


@in_run_folder(smoke={"epochs": 3, "draws": 2, "survey_draws": 2, "frames": 3})
def run(config: Config, folder: RunFolder) -> Findings:
    """Train the network that is animated, many draws of it and the survey, and draw."""
    data = make_data(config, config.data_seed)
    arguments = np.uint32(config.seed), data.train, data.test, config.regularization_rate
    with working(f"training for {config.epochs} epochs"):
        trained, compile_seconds, _ = compile_and_run(jax.jit(make_trainer(config)), *arguments)
    history: dict[str, Any] = jax.device_get(trained)
    record(folder, config, history)
    measured = {split: numbers_after(history, split, -1) for split in ("train", "test")}
    print(f"{config.data}: {describe(config)}")
    print(f"  training loss {measured['train']['loss']:.4f}, test loss {measured['test']['loss']:.4f}")
    with working(f"training {config.draws} draws"):
        draws = train_draws(config, seeds_of_draws(config.seed, config.draws))
    losses = draws["test"]["loss"][:, -1]
    measured["draws"] = spread(losses)
    if config.data == "circle":
        measured["draws"][f"share_to_{PUBLISHED}"] = float(np.mean(losses <= PUBLISHED))
    print(f"  {config.draws} draws of points and initial values, test loss: " + as_text(measured["draws"]))
    groups: Mapping[str, Any] = {}
    if config.survey:
        with working(f"the survey, {config.survey_draws} draws of each network"):
            means, groups = run_survey(folder.path, config)
        measured |= means
        print("one linear layer of 2 on the circle, test loss: " + as_text(measured["linear"]))

    def draw() -> None:
        animate(folder.path, config, config.data_seed, history, frames=config.frames)
        plot_losses(folder.path / "curves.png", history, draws, PUBLISHED if config.data == "circle" else None)
        if groups:
            plot_survey(folder.path, groups)

    return Findings(measured, jax.tree.map(lambda leaf: leaf[-1], history["params"]), compile_seconds, draw=draw)


if __name__ == "__main__":
    main(Config, run, __doc__)
