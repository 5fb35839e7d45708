"""The arithmetic of the kernels in a step, for which the compiler estimates no cycles."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from jaxnets.flops import inner_jaxprs
from jaxnets.kernels.splash_attention import CAUSAL


class Kernels(NamedTuple):
    """The kernels of a step on one device.

    Attributes:
        runs: how often kernels run.
        flops: of their products, with every side of a matrix filled up to the lanes of a matrix unit.
    """

    runs: int
    flops: float

    def __add__(self, other: Any) -> Kernels:
        return Kernels(self.runs + other.runs, self.flops + other.flops)


def kernels_of(jaxpr: Any, lanes: int, causal: bool = False) -> Kernels:
    """Count the kernels in the jaxpr of a step, and their arithmetic.

    Kernels run inside `jax.shard_map`, where shapes are those of one device. What a causal mask leaves out is left out:
    of n x n tiles a kernel computes n (n + 1) / 2.

    Args:
        jaxpr: of the step.
        lanes: the rows and columns of a matrix unit.
        causal: whether the jaxpr is part of causal attention.
    """
    found = Kernels(0, 0.0)
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        inside = causal or CAUSAL in str(equation.source_info.name_stack)
        if equation.primitive.name == "pallas_call":
            grid = equation.params["grid_mapping"].grid
            tiles = grid[-1]
            share = (tiles + 1) / (2 * tiles) if inside else 1.0
            found += Kernels(1, share * math.prod(grid) * _padded_flops(equation.params["jaxpr"], lanes))
            continue
        inner = [kernels_of(value, lanes, inside) for value in inner_jaxprs(equation.params)]
        if equation.primitive.name == "cond":
            found += max(inner, key=lambda one: one.flops)
            continue
        turns = equation.params["length"] if equation.primitive.name == "scan" else 1
        for one in inner:
            found += Kernels(turns * one.runs, turns * one.flops)
    return found


def _padded_flops(jaxpr: Any, lanes: int) -> int:
    total = 0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        inner = [_padded_flops(value, lanes) for value in inner_jaxprs(equation.params)]
        turns = equation.params["length"] if equation.primitive.name == "scan" else 1
        total += max(inner, default=0) if equation.primitive.name == "cond" else turns * sum(inner)
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            x, y = equation.invars[0].aval, equation.outvars[0].aval
            sides = [*y.shape[-2:], math.prod(x.shape[axis] for axis in contracted)]
            total += 2 * math.prod(y.shape[:-2]) * math.prod(-(-side // lanes) * lanes for side in sides)
    return total
