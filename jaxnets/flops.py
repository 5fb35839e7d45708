"""Counting the floating-point operations of a function from its jaxpr, the same on every backend."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax

from jaxnets.backend import plain_too

NOT_COUNTABLE = "attention_blocks, kernel_gradient, rows"
"""Fast forms that leave out products, do others twice, multiply padding, or sum by products."""


def count_flops(function: Callable[..., Any], *args: Any, **kwargs: Any) -> int:
    """Count the floating-point operations of the matrix products and convolutions in one call.

    A product and its addition are two operations; elementwise work is not counted. A convolution counts its whole
    kernel, padding included, at each position of its result, or of its input if that is smaller (as for transposed
    convolutions). Attention and other kernels for one backend count the products of the plain form that they stand for.
    Loops (`lax.scan`) count each turn; a `while_loop`, whose turns are unknown, counts once; of the branches of a
    `cond` the most expensive one counts. What `jax.checkpoint` computes again counts again.

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

    with plain_too(NOT_COUNTABLE):
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
    name = equation.primitive.name
    if name in _COSTS:
        inputs, outputs = ([v.aval for v in variables] for variables in (equation.invars, equation.outvars))
        return int(_COSTS[name](inputs, outputs, equation.params))
    inner = [jaxpr_flops(value) for value in inner_jaxprs(equation.params)]
    if name == "cond":
        return max(inner, default=0)
    turns: int = equation.params["length"] if name == "scan" else 1
    return sum(inner) * turns


def inner_jaxprs(settings: dict[str, Any]) -> list[Any]:
    """Return the jaxprs among the settings of an equation, alone or in tuples.

    Example:
        >>> equation = jax.make_jaxpr(jax.jit(lambda a: a + a))(1.0).eqns[0]
        >>> len(inner_jaxprs(equation.params))
        1
    """
    values = [item for value in settings.values() for item in (value if isinstance(value, tuple | list) else (value,))]
    return [value for value in values if hasattr(getattr(value, "jaxpr", value), "eqns")]


def _product(inputs: list[Any], outputs: list[Any], settings: dict[str, Any]) -> Any:
    (contracted, _), _ = settings["dimension_numbers"]
    return 2 * outputs[0].size * math.prod(inputs[0].shape[axis] for axis in contracted)


def _ragged_product(inputs: list[Any], outputs: list[Any], settings: dict[str, Any]) -> Any:
    """Each row is multiplied by the matrix of its own group alone."""
    rows, matrices, groups = inputs[:3]
    dimensions = settings["ragged_dot_dimension_numbers"]
    (contracted, _), (batched, _) = dimensions.dot_dimension_numbers
    shared = math.prod(rows.shape[axis] for axis in (*contracted, *batched))
    matrices_size = matrices.size // (groups.shape[-1] if dimensions.rhs_group_dimensions else 1)
    return 2 * rows.size * matrices_size // max(shared, 1)


def _small_product(inputs: list[Any], outputs: list[Any], settings: dict[str, Any]) -> Any:
    return 2 * outputs[0].size * inputs[0].shape[-1]


def _convolution(inputs: list[Any], outputs: list[Any], settings: dict[str, Any]) -> Any:
    x_axes, kernel_axes, y_axes = settings["dimension_numbers"]  # batch or output channels, channels, spatial axes
    x, kernel, y = (
        [aval.shape[axis] for axis in axes]
        for aval, axes in zip((*inputs, *outputs), (x_axes, kernel_axes, y_axes), strict=True)
    )
    axes = zip(x[2:], kernel[2:], y[2:], settings["lhs_dilation"], strict=True)
    return 2 * math.prod(y[:2]) * kernel[1] * math.prod(_products_of_axis(*axis) for axis in axes)


def _convolution_on_cpu(inputs: list[Any], outputs: list[Any], settings: dict[str, Any]) -> Any:
    (batch, *x, _), (*kernel, fan_in, _), (_, *y, out) = (array.shape for array in (*inputs, *outputs))
    axes = zip(x, kernel, y, settings["geometry"].input_dilation, strict=True)
    return 2 * batch * out * fan_in * math.prod(_products_of_axis(*axis) for axis in axes)


def _kernel_gradient_on_cpu(inputs: list[Any], outputs: list[Any], settings: dict[str, Any]) -> Any:
    (x, dy), (kernel,) = inputs, outputs  # as many products as the convolution has
    return _convolution_on_cpu([x, kernel], [dy], settings)


def _products_of_axis(size: int, taps: int, positions: int, dilation: int) -> int:
    """How many pairs of an input's entry and a tap one spatial axis has; zeros between entries are no entries."""
    if dilation == 1:
        return min(size, positions) * taps
    return min(size * taps, size * positions, positions * taps)


def _attention(products: int) -> Callable[..., Any]:
    """The cost of cuDNN's attention, of `[batch, time, heads, head_dim]` or with time and heads exchanged."""

    def cost(inputs: list[Any], outputs: list[Any], settings: dict[str, Any]) -> Any:
        keys = inputs[1].shape[2 if settings["layout"] else 1]
        return 2 * products * inputs[0].size * keys

    return cost


def _lstm(products: int) -> Callable[..., Any]:
    """The cost of cuDNN's LSTM; its first input is `[batch, time, ...]`, of the backward pass too."""

    def cost(inputs: list[Any], outputs: list[Any], settings: dict[str, Any]) -> Any:
        hidden, ways = settings["hidden_size"], 2 if settings["bidirectional"] else 1
        widths = [settings["input_size"]] + [ways * hidden] * (settings["num_layers"] - 1)
        steps = math.prod(inputs[0].shape[:2])
        return 2 * products * steps * ways * sum(4 * hidden * (width + hidden) for width in widths)

    return cost


_RECOMPUTED = {"splash_mha_dkv": (1, 4), "splash_mha_dq": (2, 3)}
"""How many of the products in a kernel of splash attention another kernel has computed before."""


def _pallas_kernel(inputs: list[Any], outputs: list[Any], settings: dict[str, Any]) -> Any:
    kernel = settings["jaxpr"]
    flops = jaxpr_flops(kernel) * math.prod(settings["grid_mapping"].grid)
    for name, (again, products) in _RECOMPUTED.items():
        if kernel.debug_info.func_src_info.startswith(name):
            return flops * (products - again) // products
    return flops


_COSTS: dict[str, Callable[[list[Any], list[Any], dict[str, Any]], Any]] = {
    "dot_general": _product,
    "ragged_dot_general": _ragged_product,
    "small_product_on_cpu": _small_product,
    "conv_general_dilated": _convolution,
    "convolution_on_cpu": _convolution_on_cpu,
    "kernel_gradient_on_cpu": _kernel_gradient_on_cpu,
    "dot_product_attention_fwd_wrapper": _attention(2),
    "dot_product_attention_bwd_wrapper": _attention(4),
    "rnn_fwd": _lstm(1),
    "rnn_bwd": _lstm(2),
    "pallas_call": _pallas_kernel,
}
"""What one call of a primitive costs, from the types of its inputs and results and its settings."""
