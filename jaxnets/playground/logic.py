"""Logic by threshold neurons: AND, OR and NOT by one, XOR by a further input or by two layers; nothing is learned."""

from __future__ import annotations

import base64
import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from jaxnets import nn
from jaxnets.config import ModelConfig, Rule, one_of
from jaxnets.models import ThresholdNetworkConfig, ThresholdNeuronConfig, threshold_network, threshold_neuron

LIMIT = 10.0
REGION = 160
"""Pixels along each side of the picture of where a network gives 1."""
EXTENT = (-0.5, 1.5)
"""The plane is shown from here to there, in both directions."""


def neuron(weights: list[float], bias: float) -> dict[str, Any]:
    """The parameters of one neuron."""
    return {"kernel": jnp.array(weights)[:, None], "bias": jnp.array([bias])}


AND, OR, NOT = neuron([1, 1], -1.5), neuron([1, 1], -0.5), neuron([-1], 0.5)
XOR_OF_PRODUCT = neuron([1, 1, -2], -0.5)
XOR_OF_LAYERS = {
    "hidden": {name: jnp.concatenate([OR[name], AND[name]], axis=-1) for name in OR},
    "output": neuron([1, -1], -0.5),
}


def with_product(x: Any) -> Any:
    """Append x1 x2 to (x1, x2)."""
    return jnp.concatenate([x, jnp.prod(x, axis=-1, keepdims=True)], axis=-1)


def one_neuron(params: Any, x: Any) -> Any:
    """[<w, x> + b > 0]."""
    model = threshold_neuron(ThresholdNeuronConfig(x.shape[-1]))
    return model.apply(params, {}, x, train=False)[0][..., 0]


def two_layers(params: Any, x: Any) -> Any:
    """[<v, h> + c > 0] of the hidden neurons h."""
    model = threshold_network(ThresholdNetworkConfig(x.shape[-1], hidden=2))
    return model.apply(params, {}, x, train=False)[0][..., 0]


def product_neuron(params: Any, x: Any) -> Any:
    """One neuron of x1, x2 and x1 x2."""
    return one_neuron(params, with_product(x))


class Lesson(NamedTuple):
    """What a neuron should compute, and numbers with which it does, as far as one can.

    Attributes:
        truth: what is right.
        weights: of x1, x2 and x1 x2.
        bias: the threshold with a minus sign.
    """

    truth: Callable[[int, int], bool]
    weights: tuple[float, float, float]
    bias: float


LESSONS: Mapping[str, Lesson] = {
    "and": Lesson(lambda a, b: bool(a and b), (1, 1, 0), -1.5),
    "or": Lesson(lambda a, b: bool(a or b), (1, 1, 0), -0.5),
    "not": Lesson(lambda a, b: not a, (-1, 0, 0), 0.5),
    "xor": Lesson(lambda a, b: a != b, (1, 1, 0), -0.5),
    "xor_product": Lesson(lambda a, b: a != b, (1, 1, -2), -0.5),
    "xor_layers": Lesson(lambda a, b: a != b, (1, -1, 0), -0.5),
}
"""By name; one neuron cannot compute xor."""


_Weights: TypeAlias = Annotated[
    tuple[float, ...],
    Rule(
        f"three numbers from {-LIMIT:g} to {LIMIT:g}",
        lambda weights: len(weights) == 3 and all(abs(weight) <= LIMIT for weight in weights),
    ),
]
_Bias: TypeAlias = Annotated[float, Rule(f"from {-LIMIT:g} to {LIMIT:g}", lambda bias: abs(bias) <= LIMIT)]


@dataclasses.dataclass(frozen=True)
class ThresholdSettings(ModelConfig):
    """What the page asks: which function of logic, and by which weights.

    Attributes:
        gate: the function, one of `LESSONS`; the two layers of `xor_layers` have weights of their own.
        weights: of x1, x2 and x1 x2, from -10 to 10; by default those of the lesson.
        bias: of the neuron, from -10 to 10; by default that of the lesson.
    """

    gate: Annotated[str, one_of(LESSONS)] = "and"
    weights: _Weights | None = None
    bias: _Bias | None = None


def threshold(settings: ThresholdSettings) -> dict[str, Any]:
    """What the neuron says of the four inputs and over the plane.

    Example:
        >>> [row["output"] for row in threshold(ThresholdSettings())["rows"]]
        [0, 0, 0, 1]
    """
    lesson, layered = LESSONS[settings.gate], settings.gate == "xor_layers"
    weights = lesson.weights if settings.weights is None else settings.weights
    bias = lesson.bias if settings.bias is None else settings.bias
    params = XOR_OF_LAYERS if layered else neuron(list(weights), bias)
    apply = two_layers if layered else product_neuron
    inputs = jnp.array(list(itertools.product([0.0, 1.0], repeat=2)))
    seen = jnp.stack([one_neuron(OR, inputs), one_neuron(AND, inputs)], axis=-1) if layered else with_product(inputs)
    sums = nn.linear(params["output"] if layered else params, seen)[:, 0].tolist()
    outputs = apply(params, inputs).astype(int).tolist()
    rows = [
        {
            "inputs": [int(a), int(b)],
            "hidden": np.asarray(hidden).astype(int).tolist() if layered else None,
            "sum": total,
            "output": output,
            "right": int(lesson.truth(int(a), int(b))),
        }
        for (a, b), hidden, total, output in zip(inputs.tolist(), seen, sums, outputs, strict=True)
    ]
    first, last = EXTENT
    line = first + (np.arange(REGION) + 0.5) / REGION * (last - first)
    plane = jnp.asarray(np.stack(np.meshgrid(line, line[::-1]), axis=-1), jnp.float32)
    region = np.asarray(apply(params, plane)).astype(np.uint8)
    picture = {"region": base64.b64encode(region.tobytes()).decode(), "pixels": REGION, "extent": EXTENT}
    return {"weights": weights, "bias": bias, "rows": rows, **picture}
