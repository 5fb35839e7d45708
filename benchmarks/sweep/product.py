"""A linear layer: a matrix product and a bias."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.sweep.case import Case, Operation, Range, Settings, draw_integer, pairs, ranges
from jaxnets import nn

FEATURES = ranges(4, 32, 180, 1024)


def draw(rows: Range, column: tuple[Range, Range], generator: np.random.Generator) -> Settings:
    rows, fan_in, out = (draw_integer(within, generator) for within in (rows, *column))
    return {"rows": rows, "in_features": fan_in, "out_features": out}


def make_case(*, rows: int, in_features: int, out_features: int) -> Case:
    def ours(kernel, bias, x):
        return nn.linear({"kernel": kernel, "bias": bias}, x)

    def plain(kernel, bias, x):
        return x @ kernel + bias

    def theirs(kernel, bias, x):
        return torch.nn.functional.linear(x, kernel, bias)

    return Case(
        shapes={"kernel": (in_features, out_features), "bias": (out_features,), "x": (rows, in_features)},
        programs={"jaxnets": ours, "jax": plain, "pytorch": theirs},
        torch_axes={"kernel": (1, 0)},
    )


OPERATION = Operation(
    title="Linear layer: rows; features in and out",
    rows={f"{label} rows": within for label, within in ranges(1, 16, 128, 1024, 4096).items()},
    columns=pairs(FEATURES, FEATURES),
    draw=draw,
    case=make_case,
)
