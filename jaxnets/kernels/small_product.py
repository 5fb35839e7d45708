"""Products of small matrices on CPU as a JAX primitive, written out entry by entry.

XLA's CPU code calls a routine for every product, and the kernel's gradient of many networks at once (`jax.vmap`) calls
one for each network. Up to about a thousand multiplications the call takes longer than the product. Written out, the
product becomes part of the loops before and after it.

It is a primitive because only a batching rule can tell many networks, whose products stay small, from many examples,
which are the rows of one large product.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxnets.backend import fast_path, types_carry_sharding
from jaxnets.types import Array

_LARGEST = 1024
"""The most multiplications of a product that is written out."""


def matrix_product(x: Array, kernel: Array) -> Array:
    """Compute `x @ kernel` of `[rows, in]` and `[in, out]`, of the same dtype, in the fastest form on this backend.

    Example:
        >>> matrix_product(jnp.array([[1.0, 2.0]]), jnp.array([[3.0], [4.0]]))
        Array([[11.]], dtype=float32)
    """
    small = _is_small(x, kernel) and fast_path("small_product", "cpu") and not types_carry_sharding(x, kernel)
    y: Array = _small_product_p.bind(x, kernel) if small else x @ kernel
    return y


def _is_small(x: Array, kernel: Array) -> bool:
    sizes = (*x.shape[-2:], kernel.shape[-1])
    known = all(isinstance(size, int) for size in sizes)  # exported functions may leave the batch open
    return known and math.prod(sizes) <= _LARGEST and x.dtype.itemsize >= 4


def _product(x: Array, kernel: Array) -> Array:
    """Multiply `[*stack, rows, in]` by `[*stack, in, out]`."""
    y: Array = _small_product_p.bind(x, kernel) if _is_small(x, kernel) else x @ kernel
    return y


def _write_out(x: Array, kernel: Array) -> Array:
    return jnp.sum(x[..., :, :, None] * kernel[..., None, :, :], axis=-2)


def _gradient_of_x(dy: Array, x: Any, kernel: Array) -> Array:
    return _product(dy, jnp.swapaxes(kernel, -1, -2))


def _gradient_of_kernel(dy: Array, x: Array, kernel: Any) -> Array:
    return _product(jnp.swapaxes(x, -1, -2), dy)


def _batch(args: tuple[Array, Array], axes: tuple[Any, Any]) -> tuple[Array, int]:
    """Fold the new axis into the rows or the columns; if both arguments have it, stack one product on the other."""
    (x, kernel), (x_axis, kernel_axis) = args, axes
    if kernel_axis is None:
        x = jnp.moveaxis(x, x_axis, -3)
        *stack, mapped, rows, features = x.shape
        y = _product(x.reshape(*stack, mapped * rows, features), kernel)
        return y.reshape(*stack, mapped, rows, y.shape[-1]), len(stack)
    if x_axis is None:
        kernel = jnp.moveaxis(kernel, kernel_axis, -2)
        *stack, mapped, out = kernel.shape
        y = _product(x, kernel.reshape(*stack, mapped * out))
        return y.reshape(*y.shape[:-1], mapped, out), y.ndim - 1
    return _product(jnp.moveaxis(x, x_axis, 0), jnp.moveaxis(kernel, kernel_axis, 0)), 0


def _result(x: Any, kernel: Any) -> Any:
    return jax.core.ShapedArray((*x.shape[:-1], kernel.shape[-1]), x.dtype)


_small_product_p = Primitive("small_product_on_cpu")
_small_product_p.def_impl(jax.jit(_write_out))
_small_product_p.def_abstract_eval(_result)
ad.defbilinear(_small_product_p, _gradient_of_x, _gradient_of_kernel)
batching.primitive_batchers[_small_product_p] = _batch
mlir.register_lowering(_small_product_p, mlir.lower_fun(jnp.matmul, multiple_results=False))
mlir.register_lowering(_small_product_p, mlir.lower_fun(_write_out, multiple_results=False), platform="cpu")
