"""Backpropagation by hand through two inputs, two hidden units and one output, and what jax.grad says of it.

No biases and no activations: h1 = x1 w1 + x2 w2, h2 = x1 w3 + x2 w4, prediction y = h1 w5 + h2 w6, error
(y - target)^2 / 2.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.config import ModelConfig, Rule

LIMIT = 100.0


def _numbers(count: int) -> Rule:
    return Rule(
        f"{count} numbers from {-LIMIT:g} to {LIMIT:g}",
        lambda values: len(values) == count and all(abs(value) <= LIMIT for value in values),
    )


_Target: TypeAlias = Annotated[float, Rule(f"from {-LIMIT:g} to {LIMIT:g}", lambda value: abs(value) <= LIMIT)]


@dataclasses.dataclass(frozen=True)
class BackpropSettings(ModelConfig):
    """The numbers of the example; the defaults are those of the course.

    Attributes:
        inputs: x1 and x2.
        target: what the prediction should be.
        weights: w1 to w6.
        learning_rate: by which the gradient is multiplied before it is subtracted.
    """

    inputs: Annotated[tuple[float, ...], _numbers(2)] = (2.0, 3.0)
    target: _Target = 1.0
    weights: Annotated[tuple[float, ...], _numbers(6)] = (0.11, 0.21, 0.12, 0.08, 0.14, 0.15)
    learning_rate: Annotated[float, Rule("above 0 and at most 10", lambda rate: 0 < rate <= 10)] = 0.05


def predict(weights: Any, inputs: Any) -> Any:
    """h1 w5 + h2 w6."""
    (w1, w2, w3, w4, w5, w6), (x1, x2) = weights, inputs
    return (x1 * w1 + x2 * w2) * w5 + (x1 * w3 + x2 * w4) * w6


def error(weights: Any, inputs: Any, target: float) -> Any:
    """Half the squared difference."""
    return (predict(weights, inputs) - target) ** 2 / 2


def gradient_by_hand(weights: Any, inputs: Any, target: float) -> np.ndarray:
    """The chain rule, factor by factor: delta times what the weight was multiplied by."""
    (w1, w2, w3, w4, w5, w6), (x1, x2) = weights, inputs
    h1, h2 = x1 * w1 + x2 * w2, x1 * w3 + x2 * w4
    delta = h1 * w5 + h2 * w6 - target
    return np.array([delta * w5 * x1, delta * w5 * x2, delta * w6 * x1, delta * w6 * x2, delta * h1, delta * h2])


def worked_example(settings: BackpropSettings) -> dict[str, Any]:
    """All numbers of one step, and every line of the calculation with its numbers put in.

    Returns:
        `values` by name, `steps` (part, symbol, formula, numbers, value, and the names it is made of), and the
        gradients by hand and by `jax.grad`.

    Example:
        >>> found = worked_example(BackpropSettings())
        >>> round(found["values"]["y"], 3), round(found["values"]["delta"], 3), round(found["values"]["next y"], 2)
        (0.191, -0.809, 0.26)
    """
    weights, inputs, target = np.array(settings.weights), np.array(settings.inputs), settings.target
    names = [f"w{number}" for number in range(1, 7)]
    values = dict(zip(["x1", "x2", *names], map(float, [*inputs, *weights]), strict=True))
    values |= {"target": target, "rate": settings.learning_rate}
    by_hand = gradient_by_hand(weights, inputs, target)
    by_jax = np.asarray(jax.grad(error)(jnp.asarray(weights), jnp.asarray(inputs), target))
    new = weights - settings.learning_rate * by_hand
    values["h1"] = values["x1"] * values["w1"] + values["x2"] * values["w2"]
    values["h2"] = values["x1"] * values["w3"] + values["x2"] * values["w4"]
    values["y"] = float(predict(weights, inputs))
    values["error"] = float(error(weights, inputs, target))
    values["delta"] = values["y"] - target
    values |= {f"gradient {name}": float(value) for name, value in zip(names, by_hand, strict=True)}
    values |= {f"new {name}": float(value) for name, value in zip(names, new, strict=True)}
    values["next y"] = float(predict(new, inputs))
    values["next error"] = float(error(new, inputs, target))
    return {
        "values": values,
        "steps": _steps(values),
        "by_jax": by_jax.astype(float).tolist(),
        "by_hand": by_hand.tolist(),
    }


_FORWARD = (
    ("h1", "x1 · w1 + x2 · w2"),
    ("h2", "x1 · w3 + x2 · w4"),
    ("y", "h1 · w5 + h2 · w6"),
    ("error", "(y − target)² / 2"),
)
_BACKWARD = (
    ("delta", "y − target"),
    ("gradient w5", "delta · h1"),
    ("gradient w6", "delta · h2"),
    ("gradient w1", "delta · w5 · x1"),
    ("gradient w2", "delta · w5 · x2"),
    ("gradient w3", "delta · w6 · x1"),
    ("gradient w4", "delta · w6 · x2"),
)


def _steps(values: dict[str, float]) -> list[dict[str, Any]]:
    update = [(f"new w{number}", f"w{number} − rate · gradient w{number}") for number in (5, 6, 1, 2, 3, 4)]
    again = [("next y", "new weights, the same formulas")]
    parts = {"forward": _FORWARD, "backward": _BACKWARD, "update": update, "again": again}
    return [_step(part, name, formula, values) for part, lines in parts.items() for name, formula in lines]


def _step(part: str, name: str, formula: str, values: dict[str, float]) -> dict[str, Any]:
    """One line of the calculation: longer names are put in first, as `gradient w1` has `w1` in it."""
    numbers, used = formula, []
    for other in sorted(values, key=len, reverse=True):
        if other in numbers and part != "again":
            numbers = numbers.replace(other, _shown(values[other]))
            used.append(other)
    return {
        "part": part,
        "name": name,
        "formula": formula,
        "numbers": "" if part == "again" else numbers,
        "value": values[name],
        "uses": used,
    }


def _shown(value: float) -> str:
    """A number to read, a negative one in parentheses."""
    text = f"{value:.4g}".replace("-", "−")
    return f"({text})" if value < 0 else text
