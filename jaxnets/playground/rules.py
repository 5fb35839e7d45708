"""How one neuron learns, step by step: Rosenblatt's perceptron rule and the delta rule of Widrow and Hoff."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import nn
from jaxnets.config import ModelConfig, Rule, one_of
from jaxnets.data import playground
from jaxnets.experiment.settings import Seed
from jaxnets.models import AdalineConfig, PerceptronConfig, adaline, adaline_rule, perceptron, perceptron_rule
from jaxnets.random import subkey

MAX_PICKS = 400
CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], np.float32)

Points: TypeAlias = tuple[np.ndarray, np.ndarray]
"""Places `[points, 2]` and labels `[points]`, 1 or 0."""


def _clouds() -> Points:
    points, labels = playground("gauss", 3, noise=0.05, examples=40).train
    return points, (labels > 0).astype(np.float32)


SETS: Mapping[str, Callable[[], Points]] = {
    "or": lambda: (CORNERS, np.array([0, 1, 1, 1], np.float32)),
    "and": lambda: (CORNERS, np.array([0, 0, 0, 1], np.float32)),
    "xor": lambda: (CORNERS, np.array([0, 1, 1, 0], np.float32)),
    "clouds": _clouds,
}
"""What can be learned, or not: no line separates xor."""


_Picks: TypeAlias = Annotated[int, Rule(f"from 1 to {MAX_PICKS}", lambda picks: 1 <= picks <= MAX_PICKS)]


@dataclasses.dataclass(frozen=True)
class RuleSettings(ModelConfig):
    """What the page asks: which rule, on which points.

    Attributes:
        rule: perceptron or delta.
        data: one of `SETS`.
        seed: of the initial weights and of the picks.
        learning_rate: of the delta rule, above 0 and at most 1; the perceptron has none.
        picks: how many examples are picked, at most 400.
    """

    rule: Annotated[str, one_of(("perceptron", "delta"))] = "perceptron"
    data: Annotated[str, one_of(SETS)] = "or"
    seed: Seed = 0
    learning_rate: Annotated[float, Rule("above 0 and at most 1", lambda rate: 0 < rate <= 1)] = 0.1
    picks: _Picks = 200


def points(settings: RuleSettings) -> list[list[float]]:
    """The rows of x1, x2 and label, which a page shows while `learn` is compiled.

    Example:
        >>> points(RuleSettings(data="and"))
        [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    places, labels = SETS[settings.data]()
    rows: list[list[float]] = np.column_stack([places, labels]).astype(float).round(6).tolist()
    return rows


def learn(settings: RuleSettings) -> dict[str, Any]:
    """Every step of the rule: the example that was picked, what the neuron said, and the weights after it.

    Returns:
        `points`, rows of x1, x2 and label; `start` and, for every pick, `steps`, both with the weights of x1, x2 and
        of the constant 1, how many examples are `wrong`, and the mean of (target - y)^2 / 2 as `loss`.

    Example:
        >>> steps = learn(RuleSettings(data="and"))["steps"]
        >>> len(steps), steps[-1]["wrong"]
        (200, 0)
    """
    places, labels = SETS[settings.data]()
    key = jax.random.key(settings.seed)
    rows = _draw(key, picks=settings.picks, examples=len(places))
    path: Any = _perceptron_steps if settings.rule == "perceptron" else _delta_steps
    taken = path(_start(settings.rule, key), places, labels, rows, np.float32(settings.learning_rate))
    weights, sums, corrected = (np.asarray(array) for array in jax.device_get(taken))
    after = [_state(one, places, labels, settings.rule) for one in weights.astype(np.float64)]
    steps = [
        {"pick": int(row), "sum": float(total), "corrected": bool(changed), **state}
        for row, total, changed, state in zip(np.asarray(rows), sums, corrected, after[1:], strict=True)
    ]
    return {"points": points(settings), "start": after[0], "steps": steps}


@functools.partial(jax.jit, static_argnames=("picks", "examples"))
def _draw(key: Any, *, picks: int, examples: int) -> Any:
    """The examples that are picked, as `jaxnets.models.perceptron_path` draws them."""
    return jax.vmap(lambda number: jax.random.randint(subkey(key, number), (), 0, examples))(jnp.arange(picks))


def _start(rule: str, key: Any) -> Any:
    """The weights before the first pick."""
    model = perceptron(PerceptronConfig(3)) if rule == "perceptron" else adaline(AdalineConfig(2))
    return model.init(subkey(key, "init"))[0]


@jax.jit
def _perceptron_steps(params: Any, places: Any, labels: Any, rows: Any, rate: Any) -> Any:
    """The weights before and after every pick `[picks + 1, 3]`, the sums, and which were mistakes; it has no rate."""
    x = jnp.concatenate([places, jnp.ones((len(places), 1), places.dtype)], axis=1)

    def pick(params: Any, row: Any) -> Any:
        total = nn.linear(params, x[row][None])[0, 0]
        params, corrected = perceptron_rule(params, x[row], labels[row])
        return params, (params["kernel"][:, 0], total, corrected)

    _, (weights, sums, corrected) = jax.lax.scan(pick, params, rows)
    return jnp.concatenate([params["kernel"].T, weights]), sums, corrected


@jax.jit
def _delta_steps(params: Any, places: Any, labels: Any, rows: Any, rate: Any) -> Any:
    """The same of the delta rule, which corrects always."""
    targets = 2 * labels - 1

    def pick(params: Any, row: Any) -> Any:
        x, target = places[row][None], targets[row][None]
        total = nn.linear(params, x)[0, 0]
        params, errors = adaline_rule(params, x, target, learning_rate=rate)
        return params, (_three(params), total, errors[0] != 0)

    _, (weights, sums, corrected) = jax.lax.scan(pick, params, rows)
    return jnp.concatenate([_three(params)[None], weights]), sums, corrected


def _three(params: Any) -> Any:
    return jnp.concatenate([params["kernel"][:, 0], params["bias"]])


def _state(weights: np.ndarray, places: np.ndarray, labels: np.ndarray, rule: str) -> dict[str, Any]:
    """Weights, and how good they are on all points."""
    sums = places @ weights[:2] + weights[2]
    loss = float(np.mean((2 * labels - 1 - sums) ** 2) / 2) if rule == "delta" else None
    return {"weights": weights.tolist(), "wrong": int(np.sum((sums >= 0) != (labels > 0))), "loss": loss}
