"""Maxima and sums over windows as chains of operations on strided slices, one for each offset.

On CPU it is the fast form: the gradient of `jax.lax.reduce_window` becomes a serial loop, 4 to 40 times slower. On GPU
it is the exact form for float64.
"""

from __future__ import annotations

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from jaxnets.backend import fast_path
from jaxnets.nn.window import window_size, window_slices
from jaxnets.types import Array

_SMALL_WINDOW = 4
"""Up to this many entries a window is reduced at once, larger ones axis by axis: less work, more passes."""


def is_fast_on_cpu() -> bool:
    """Say whether `reduce_windows` is for the backend at hand.

    jaxlib 0.7.2 compiles the gradient wrong on processors with AVX-512: programs end in a segmentation fault.
    """
    return fast_path("pooling", "cpu") and jax.__version_info__ >= (0, 8)


def is_exact_only_by_slices(x: Array) -> bool:
    """Say whether second derivatives of `jax.lax.reduce_window` would lose digits of `x`.

    On GPU JAX packs an entry and its tangent into 64 bits, and halves the digits of float64 for that.
    """
    return fast_path("pooling", "gpu") and x.dtype == jnp.float64


@functools.partial(jax.jit, static_argnums=(0, 2, 3))  # one call when run eagerly
def reduce_windows(
    operation: Literal["max", "sum"], x: Array, window: tuple[int, ...], stride: tuple[int, ...]
) -> Array:
    """Combine the entries of each window; the gradient of a maximum goes to the first one in row-major order.

    Args:
        operation: what to combine them by. NaN is larger than anything.
        x: `[batch, *spatial, channels]`, padded.
        window: its size on each spatial axis.
        stride: its step on each spatial axis.

    Returns:
        `[batch, *positions, channels]`.

    Example:
        >>> reduce_windows("max", jnp.array([1.0, 3.0, 2.0]).reshape(1, 3, 1), (2,), (1,)).ravel()
        Array([3., 3.], dtype=float32)
    """
    rank = len(window)
    ones = (1,) * rank
    passes = [(window, stride)]
    if window_size(window) > _SMALL_WINDOW:  # of equal entries, the first of the rows' maxima is in the first row
        passes = [
            ((*ones[:axis], window[axis], *ones[axis + 1 :]), (*ones[:axis], stride[axis], *ones[axis + 1 :]))
            for axis in reversed(range(rank))
        ]
    combine = _later_if_larger if operation == "max" else jnp.add
    for width, step in passes:
        x = functools.reduce(combine, window_slices(x, width, step, ones))
    return x


def _later_if_larger(first: Array, later: Array) -> Array:
    # not jnp.maximum, which halves the gradient between equal entries; NaN is the one number that differs from itself
    return jnp.where((later > first) | (later != later), later, first)
