"""Sums and maxima over rows in the forms that are fastest on CPU.

XLA's CPU code adds the rows of a matrix in vectors. But if the matrix was an array of more axes before, it sums over
all of those, number by number, 5 to 13 times slower. And a maximum that passes NaN on is never in vectors.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.backend import fast_path, types_carry_sharding
from jaxnets.types import Array


def add_bias(x: Array, bias: Array) -> Array:
    """Add `bias` `[features]` to `x` `[..., features]`, both of the same dtype; its gradient is one matrix product.

    Example:
        >>> x = jnp.ones((2, 3, 4))
        >>> jax.grad(lambda bias: jnp.sum(add_bias(x, bias)))(jnp.zeros(4))
        Array([6., 6., 6., 6.], dtype=float32)
    """
    return x + _repeated(bias, x)


def scale_features(x: Array, scale: Array) -> Array:
    """Multiply `x` `[..., features]` by `scale` `[features]`, of the same dtype; its gradient is one matrix product.

    Example:
        >>> x = jnp.ones((2, 3, 4))
        >>> jax.grad(lambda scale: jnp.sum(scale_features(x, scale)))(jnp.zeros(4))
        Array([6., 6., 6., 6.], dtype=float32)
    """
    return x * _repeated(scale, x)


def _repeated(vector: Array, x: Array) -> Array:
    """A vector `[features]` in a shape that combines with `x` `[..., features]`."""
    if x.ndim < 3 or not fast_path("rows", "cpu") or types_carry_sharding(x, vector):
        return vector.reshape((1,) * (x.ndim - 1) + vector.shape)
    return _repeat(vector, x.shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _repeat(vector: Array, shape: tuple[int, ...]) -> Array:
    return jnp.broadcast_to(vector, shape)


@_repeat.defjvp
def _tangent(shape: tuple[int, ...], primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    ones = jnp.ones((math.prod(shape[:-1]), 1), tangents[0].dtype)
    repeated = jnp.matmul(ones, tangents[0][None], precision=jax.lax.Precision.HIGHEST)  # backward a sum over rows
    # the broadcast itself, because the policy of repeated blocks would store what a custom derivative returns
    return jnp.broadcast_to(primals[0], shape), repeated.reshape(shape)


def largest(x: Array) -> Array:
    """Return the largest number of each row, `[..., 1]` of `[..., n]`, without a gradient; a NaN may be passed over.

    It is for a softmax, from whose numbers it is subtracted: there each NaN remains.

    Example:
        >>> largest(jnp.array([[1.0, 3.0, 2.0]]))
        Array([[3.]], dtype=float32)
    """
    x = jax.lax.stop_gradient(x)
    if not fast_path("rows", "cpu") or types_carry_sharding(x):
        return jnp.max(x, axis=-1, keepdims=True)
    found: Array = jax.lax.reduce(x, np.array(-np.inf, x.dtype), _larger, (x.ndim - 1,))
    return found[..., None]


def _larger(a: Array, b: Array) -> Array:
    return jax.lax.select(a > b, a, b)
