"""Counting the floating-point operations of a function from its jaxpr, the same on every backend."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax

from jaxnets.backend import plain_forms


def count_flops(function: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """Count the floating-point operations of the matrix products and convolutions in one call.

    A product and its addition are two operations; a convolution counts every position of its window, padding
    included; elementwise work is not counted. Loops (`lax.scan`) count each turn; a `while_loop`, whose turns are
    unknown, counts once; of the branches of a `cond` the most expensive one counts.

    Args:
        function: the function to count; it is traced, not run.
        *args: its arguments: arrays, `jax.ShapeDtypeStruct`s, or anything static.
        **kwargs: its keyword arguments, likewise.

    Returns:
        The number of operations. Papers often give multiply-adds, half of it.

    Example:
        >>> import jax.numpy as jnp
        >>> count_flops(lambda a, b: a @ b, jnp.ones((2, 3)), jnp.ones((3, 4)))
        48
    """
    leaves, structure = jax.tree.flatten((args, kwargs))
    dynamic = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "shape") and hasattr(leaf, "dtype")]

    def call(arrays: list[Any]) -> Any:
        values = list(leaves)
        for i, array in zip(dynamic, arrays, strict=True):
            values[i] = array
        call_args, call_kwargs = jax.tree.unflatten(structure, values)
        return function(*call_args, **call_kwargs)

    with plain_forms():  # fast forms may do the same as elementwise work, which does not count
        return jaxpr_flops(jax.make_jaxpr(call)([leaves[i] for i in dynamic]))


def jaxpr_flops(jaxpr: Any) -> int:
    """Count the floating-point operations in a jaxpr, as `count_flops` does.

    Example:
        >>> import jax.numpy as jnp
        >>> jaxpr_flops(jax.make_jaxpr(lambda a: a @ a)(jnp.ones((2, 2))))
        16
    """
    return sum(_equation_flops(equation) for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns)


def _equation_flops(equation: Any) -> int:
    name, settings = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = settings["dimension_numbers"]
        left: tuple[int, ...] = equation.invars[0].aval.shape
        result: tuple[int, ...] = equation.outvars[0].aval.shape
        return int(2 * math.prod(result) * math.prod(left[axis] for axis in contracted))
    if name == "conv_general_dilated":
        kernel: tuple[int, ...] = equation.invars[1].aval.shape
        result = equation.outvars[0].aval.shape
        features_out: int = kernel[settings["dimension_numbers"].rhs_spec[0]]
        return 2 * math.prod(result) * math.prod(kernel) // features_out
    inner = [jaxpr_flops(value) for value in _jaxprs(settings)]
    if name == "cond":
        return max(inner, default=0)
    turns: int = settings["length"] if name == "scan" else 1
    return sum(inner) * turns


def _jaxprs(settings: dict[str, Any]) -> list[Any]:
    """The jaxprs among the settings of an equation, alone or in tuples."""
    values = [item for value in settings.values() for item in (value if isinstance(value, tuple | list) else (value,))]
    return [value for value in values if hasattr(getattr(value, "jaxpr", value), "eqns")]
