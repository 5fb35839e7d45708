"""The softmax and its logarithm, `jax.nn`'s except in float16."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxnets.types import Array, ArrayLike


def softmax(x: ArrayLike, axis: int | tuple[int, ...] | None = -1, where: ArrayLike | None = None) -> Array:
    """Compute shares that add up to 1: $e^x_i / sum_j e^x_j$ over the last axis.

    It is `jax.nn.softmax`. float16, whose largest number a sum over 65,520 equal entries exceeds, is computed in
    float32.

    Args:
        x: `[...]`.
        axis: the axis or axes of the sum, None for all.
        where: booleans that broadcast with `x`: entries elsewhere are left out of the sum and are 0 in the result.

    Returns:
        `[...]`, in the dtype of `x`.

    Example:
        >>> print(softmax(jnp.array([0.0, 0.0, 100.0]), where=jnp.array([True, True, False])))
        [0.5 0.5 0. ]
    """
    if jnp.result_type(x) == jnp.float16:
        return softmax(jnp.asarray(x, jnp.float32), axis, where).astype(jnp.float16)
    return jax.nn.softmax(x, axis, where)


def log_softmax(x: ArrayLike, axis: int | tuple[int, ...] | None = -1, where: ArrayLike | None = None) -> Array:
    """Compute log(softmax(x)), $x_i - log sum_j e^x_j$ over the last axis.

    It is `jax.nn.log_softmax`. float16, whose largest number a sum over 65,520 equal entries exceeds, is computed in
    float32.

    Args:
        x: `[...]`.
        axis: the axis or axes of the sum, None for all.
        where: booleans that broadcast with `x`: entries elsewhere are left out of the sum and are -inf in the result.

    Returns:
        `[...]`, in the dtype of `x`.

    Example:
        >>> print(log_softmax(jnp.array([-1000.0, 0.0])))
        [-1000.     0.]
    """
    if jnp.result_type(x) == jnp.float16:
        return log_softmax(jnp.asarray(x, jnp.float32), axis, where).astype(jnp.float16)
    return jax.nn.log_softmax(x, axis, where)
