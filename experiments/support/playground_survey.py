"""Many networks of the Playground: all of its data sets, and sweeps of single settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.support.playground_network import ACTIVATIONS, Setting, train_draws
from jaxnets.data.playground import FEATURES

SINES = ("x1", "x2", "sin(x1)", "sin(x2)")
OVERFITTING = Setting(
    features=tuple(FEATURES), hidden=(8, 8), activation="tanh", noise=0.25, train_share=0.2, epochs=500
)
"""Too many parameters, 160, for 100 training points with wrong labels among them."""

SETS = {
    "circle": Setting(),
    "xor": Setting(data="xor", hidden=(4,), activation="tanh", epochs=300),
    "gauss": Setting(data="gauss", hidden=(), epochs=50),
    "spiral": Setting(data="spiral", features=SINES, hidden=(8, 8), activation="tanh"),
    "plane": Setting(data="plane", hidden=(), epochs=50),
    "multi-gauss": Setting(data="multi-gauss", hidden=(8, 8), activation="tanh", epochs=500),
}
"""A network that suits each set."""

LINEAR = Setting(hidden=(2,), activation="linear", epochs=100)
"""The published network that cannot learn the circle."""
LINEAR_DRAWS = 2000
"""Of it, since the published loss is a rare one."""


def _sweep(base: Setting, name: str, values: Sequence[Any]) -> dict[str, Setting]:
    return {f"{value:g}" if isinstance(value, float) else str(value): _with(base, name, value) for value in values}


def _with(setting: Setting, name: str, value: Any) -> Setting:
    changes: dict[str, Any] = {name: value}
    return dataclasses.replace(setting, **changes)


RATES = (0.0, 0.001, 0.003, 0.01, 0.03, 0.1)
GROUPS: dict[str, dict[str, Setting]] = {
    "set": SETS,
    "activation": _sweep(dataclasses.replace(SETS["circle"], epochs=300), "activation", list(ACTIVATIONS)),
    "batch size": _sweep(dataclasses.replace(SETS["circle"], epochs=300), "batch_size", [1, 5, 10, 25]),
    "noise": _sweep(Setting(activation="tanh", epochs=300), "noise", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
    "l1": _sweep(dataclasses.replace(OVERFITTING, regularization="l1"), "regularization_rate", RATES),
    "l2": _sweep(dataclasses.replace(OVERFITTING, regularization="l2"), "regularization_rate", RATES),
}
"""What is trained, group by group; each group but the first changes one setting."""


class Outcome(NamedTuple):
    """What came of one setting, over several draws of points and initial values."""

    setting: Setting
    seeds: tuple[int, ...]
    params: Any
    """After the last epoch, `[draws, ...]`."""
    train: np.ndarray
    """Training loss after the last epoch, `[draws]`."""
    test: np.ndarray
    """Test loss after the last epoch, `[draws]`."""
    accuracy: np.ndarray | None
    """Of the test split, of a classifier, `[draws]`."""


def outcome(setting: Setting, seeds: Sequence[int]) -> Outcome:
    """Train one setting with every seed."""
    history = train_draws(setting, seeds)
    params, train, test = (
        jax.tree.map(lambda leaf: leaf[:, -1], history[name]) for name in ("params", "train", "test")
    )
    return Outcome(setting, tuple(seeds), params, train["loss"], test["loss"], test.get("accuracy"))


def survey(groups: Mapping[str, Mapping[str, Setting]], seeds: Sequence[int]) -> dict[str, dict[str, Outcome]]:
    """Train every setting with every seed, group by group."""
    return {
        group: {label: outcome(setting, seeds) for label, setting in settings.items()}
        for group, settings in groups.items()
    }


def describe(setting: Setting) -> str:
    """A network in words."""
    hidden = "-".join(map(str, setting.hidden))
    layers = f"{hidden} {setting.activation}" if hidden else "no hidden layer"
    return f"{', '.join(setting.features)}; {layers}; {setting.epochs} epochs"


def table(groups: Mapping[str, Mapping[str, Outcome]]) -> str:
    """All outcomes as a Markdown table."""
    lines = [
        "| | network | n | train loss | test loss | standard deviation | median | accuracy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for group, outcomes in groups.items():
        for label, found in outcomes.items():
            numbers = [found.train.mean(), found.test.mean(), found.test.std(ddof=1), np.median(found.test)]
            cells = [f"{group} {label}", describe(found.setting), str(len(found.test)), *(f"{x:.3g}" for x in numbers)]
            accuracy = "" if found.accuracy is None else f"{found.accuracy.mean():.4f}"
            lines.append("| " + " | ".join([*cells, accuracy]) + " |")
    return "\n".join(lines)
