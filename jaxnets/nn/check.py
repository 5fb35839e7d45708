"""Checks shared by layers; each error says what came, what was expected and what to write instead."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.kernels.rows import add_bias
from jaxnets.types import Array, DTypeLike, Key


def check_features(x: Array, features: int, kernel: Array, *, name: str = "x", spatial: int = 0) -> None:
    """Raise ValueError unless the last axis of `x` has `features` entries; the message shows the shape of `kernel`.

    With `spatial` axes, channels that come before them or are missing are recognized.
    """
    if x.ndim == 0 or x.shape[-1] != features:
        advice = ""
        if spatial and x.ndim > spatial and x.shape[-spatial - 1] == features:
            axis = x.ndim - spatial - 1
            advice = f"; channels are the last axis: write jnp.moveaxis({name}, {axis}, -1)"
        elif x.ndim == spatial + 1 and features == 1:
            advice = f"; images of one channel have an axis of size 1: write {name}[..., None]"
        raise ValueError(
            f"last axis must be {features} (kernel {list(kernel.shape)}), got {name} {list(x.shape)}{advice}"
        )


def check_floating(x: Array, *, name: str = "x") -> None:
    """Raise TypeError unless `x` is an array of floating-point numbers."""
    if not hasattr(x, "dtype"):
        raise TypeError(f"{name} must be an array, got {type(x).__name__}; write jnp.asarray({name})")
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{name} must be floating point, got {x.dtype}; write {name}.astype(jnp.float32)")


def check_rate(rate: float | Array, name: str = "rate", what: str = "the probability to drop") -> None:
    """Raise ValueError unless `rate`, a probability, is one number, in [0, 1] if it is not traced."""
    if jnp.ndim(rate):
        raise ValueError(
            f"{name} is {what} and must be one number, got {list(jnp.shape(rate))}; "
            f"for a {name} of each network, use jax.vmap over it"
        )
    if not isinstance(rate, jax.core.Tracer) and not 0 <= rate <= 1:
        raise ValueError(f"{name} is {what} and must be in [0, 1], got {rate}")


def require_key(key: Key | None, reason: str) -> Key:
    """Return `key`, or raise a ValueError that says what to pass."""
    if key is None:
        raise ValueError(f"{reason} needs a random key; pass key=subkey(key, '<name of this layer>')")
    return key


def flatten_leading(x: Array, trailing: int = 1) -> tuple[Array, tuple[int, ...]]:
    """Reshape `[..., *trailing]` to `[n, *trailing]`, and return the leading shape, to restore it.

    Products and reductions over one leading axis have the fastest backward pass on every backend.
    """
    leading = x.shape[: x.ndim - trailing]
    rows = math.prod(leading)  # -1 would be ambiguous for empty arrays
    return x.reshape((rows, *x.shape[x.ndim - trailing :])) if len(leading) != 1 else x, leading


def match_dtype(x: Array, *arrays: Any) -> tuple[Any, ...]:
    """Cast parameters to the dtype of the input, which determines the precision of a layer and its result."""
    return tuple(None if array is None else jnp.asarray(array, x.dtype) for array in arrays)


def add_parameter(x: Array, parameter: Array) -> Array:
    """Add a parameter that has the last axes of `x`, so that its gradient over all others is a sum in float32.

    XLA adds bfloat16 in bfloat16 on CPUs, where a sum of ones stops at 256.
    """
    wide = compute_dtype(x)
    last = jnp.asarray(parameter, wide)
    if last.ndim == 1:
        return add_bias(x.astype(wide), last).astype(x.dtype)
    return (x.astype(wide) + last.reshape((1,) * (x.ndim - last.ndim) + last.shape)).astype(x.dtype)


def broadcast_parameter(parameter: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Repeat a parameter along new axes in front, so that its gradient is a sum in float32, as in `add_parameter`."""
    wide = jnp.float32 if jnp.dtype(dtype).itemsize < 4 else dtype
    return jnp.broadcast_to(jnp.asarray(parameter, wide), shape).astype(dtype)


def compute_dtype(x: Array) -> DTypeLike:
    """Return the dtype for statistics and scales of `x`: that of `x`, but at least float32."""
    return jnp.float32 if x.dtype.itemsize < 4 else x.dtype
