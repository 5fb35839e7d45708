"""Many networks of the Playground: all of its data sets, and sweeps of single settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.support.playground_draws import train_draws
from jaxnets.playground.settings import ACTIVATIONS, EXAMPLES, PlaygroundSettings

SETS = {name: EXAMPLES[name] for name in ("circle", "xor", "gauss", "spiral", "plane", "multi-gauss")}
LINEAR_DRAWS = 2000
"""Of the network that cannot learn the circle, since the published loss is a rare one."""


def _sweep(base: PlaygroundSettings, name: str, values: Sequence[Any]) -> dict[str, PlaygroundSettings]:
    return {f"{value:g}" if isinstance(value, float) else str(value): _with(base, name, value) for value in values}


def _with(settings: PlaygroundSettings, name: str, value: Any) -> PlaygroundSettings:
    changes: dict[str, Any] = {name: value}
    return dataclasses.replace(settings, **changes)


RATES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)
GROUPS: dict[str, dict[str, PlaygroundSettings]] = {
    "set": SETS,
    "activation": _sweep(dataclasses.replace(SETS["circle"], epochs=300), "activation", list(ACTIVATIONS)),
    "batch size": _sweep(dataclasses.replace(SETS["circle"], epochs=300), "batch_size", [1, 5, 10, 25]),
    "noise": _sweep(PlaygroundSettings(activation="tanh", epochs=300), "noise", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
    "l1": _sweep(dataclasses.replace(EXAMPLES["overfitting"], regularization="l1"), "regularization_rate", RATES),
    "l2": _sweep(dataclasses.replace(EXAMPLES["overfitting"], regularization="l2"), "regularization_rate", RATES),
}
"""What is trained, group by group; each group but the first changes one setting."""


class Outcome(NamedTuple):
    """What came of one setting, over several draws of points and initial values."""

    settings: PlaygroundSettings
    seeds: tuple[int, ...]
    params: Any
    """After the last epoch, `[draws, ...]`."""
    train: np.ndarray
    """Training loss after the last epoch, `[draws]`."""
    test: np.ndarray
    """Test loss after the last epoch, `[draws]`."""
    accuracy: np.ndarray | None
    """Of the test split, of a classifier, `[draws]`."""


def outcome(settings: PlaygroundSettings, seeds: Sequence[int]) -> Outcome:
    """Train one setting with every seed."""
    history = train_draws(settings, seeds)
    params, train, test = (
        jax.tree.map(lambda leaf: leaf[:, -1], history[name]) for name in ("params", "train", "test")
    )
    return Outcome(settings, tuple(seeds), params, train["loss"], test["loss"], test.get("accuracy"))


def survey(
    groups: Mapping[str, Mapping[str, PlaygroundSettings]], seeds: Sequence[int]
) -> dict[str, dict[str, Outcome]]:
    """Train every setting with every seed, group by group."""
    return {
        group: {label: outcome(settings, seeds) for label, settings in group_settings.items()}
        for group, group_settings in groups.items()
    }


def describe(settings: PlaygroundSettings) -> str:
    """A network in words."""
    hidden = "-".join(map(str, settings.hidden))
    layers = f"{hidden} {settings.activation}" if hidden else "no hidden layer"
    return f"{', '.join(settings.features)}; {layers}; {settings.epochs} epochs"


def table(groups: Mapping[str, Mapping[str, Outcome]]) -> str:
    """All outcomes as a Markdown table."""
    lines = [
        "| | network | n | train loss | test loss | standard deviation | median | accuracy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group, outcomes in groups.items():
        for label, found in outcomes.items():
            numbers = [found.train.mean(), found.test.mean(), found.test.std(ddof=1), np.median(found.test)]
            cells = [f"{group} {label}", describe(found.settings), str(len(found.test)), *(f"{x:.3g}" for x in numbers)]
            accuracy = "" if found.accuracy is None else f"{found.accuracy.mean():.4f}"
            lines.append("| " + " | ".join([*cells, accuracy]) + " |")
    return "\n".join(lines)
