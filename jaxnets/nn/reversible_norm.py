"""Normalization of each series by its own mean and deviation, which is undone on what is forecast."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from jaxnets.layer import layer
from jaxnets.nn.check import compute_dtype
from jaxnets.nn.normalization import check_norm, scale_and_bias_spec
from jaxnets.spec import Spec
from jaxnets.types import Array, Params


class SeriesStatistics(NamedTuple):
    """What `reversible_norm` took from each channel of each series.

    Attributes:
        mean: `[..., 1, channels]`, in at least float32.
        deviation: `[..., 1, channels]`, sqrt(variance + epsilon).
    """

    mean: Array
    deviation: Array


def reversible_norm_spec(channels: int, *, scale: bool = True, bias: bool = True) -> Spec:
    """Describe the parameters of `reversible_norm`, which `reversible_norm_inverse` shares.

    Args:
        channels: size of the input's last axis.
        scale: whether to learn a factor per channel, at first 1.
        bias: whether to learn an offset per channel, at first 0.

    Returns:
        A spec with `scale` and `bias` `[channels]`, if used.

    Example:
        >>> sorted(reversible_norm_spec(7)), reversible_norm_spec(7, scale=False, bias=False)
        (['bias', 'scale'], {})
    """
    return scale_and_bias_spec(channels, scale=scale, bias=bias)


@layer
def reversible_norm(params: Params, x: Array, *, epsilon: float = 1e-5) -> tuple[Array, SeriesStatistics]:
    """Normalize each channel of each series over time: $y = scale (x - mean) / sqrt(var + epsilon) + bias$.

    Mean and biased variance are those of the series itself, so that a forecast does not depend on the level at which a
    series happens to be. `reversible_norm_inverse` brings a forecast back to that level.

    Args:
        params: `scale` `[channels]` and `bias` `[channels]`, if used; {} without.
        x: `[..., time, channels]`, floating point.
        epsilon: added to the variance.

    Returns:
        `(y, statistics)`: `[..., time, channels]` in the dtype of `x`, and what the inverse needs.

    Raises:
        ValueError: if `x` has no axis of time or its last axis does not fit the parameters.
        TypeError: if `x` is not floating point.

    Example:
        >>> y, statistics = reversible_norm({}, jnp.array([[1.0], [3.0]]), epsilon=0.0)
        >>> y.ravel(), reversible_norm_inverse({}, jnp.array([[2.0]]), statistics)
        (Array([-1.,  1.], dtype=float32), Array([[4.]], dtype=float32))

    Reference:
        Kim et al., Reversible Instance Normalization for Accurate Time-Series Forecasting against Distribution Shift,
        2022.

    Warning:
        The gradient flows through mean and deviation; the authors' program holds them constant. That matters only if
        something before this layer is trained.
    """
    _check(params, x)
    wide = x.astype(compute_dtype(x))
    mean = jnp.mean(wide, axis=-2, keepdims=True)
    deviation = jnp.sqrt(jnp.mean(jnp.square(wide - mean), axis=-2, keepdims=True) + epsilon)
    y = (wide - mean) / deviation
    if "scale" in params:
        y = y * _per_channel(params["scale"], y)
    if "bias" in params:
        y = y + _per_channel(params["bias"], y)
    return y.astype(x.dtype), SeriesStatistics(mean, deviation)


@layer
def reversible_norm_inverse(params: Params, y: Array, statistics: SeriesStatistics, *, epsilon: float = 1e-5) -> Array:
    """Undo `reversible_norm`: $x = mean + sqrt(var + epsilon) (y - bias) / (scale + epsilon^2)$.

    Args:
        params: those of `reversible_norm`.
        y: `[..., times, channels]`, floating point, such as a forecast; `times` need not be that of the series.
        statistics: what `reversible_norm` returned.
        epsilon: keeps a scale of 0 from becoming infinite.

    Returns:
        `[..., times, channels]`, in the dtype of `y`.

    Raises:
        ValueError: if `y` does not fit the parameters or the statistics.
        TypeError: if `y` is not floating point.

    Example:
        >>> params = {"scale": jnp.array([2.0]), "bias": jnp.array([1.0])}
        >>> x = jnp.array([[1.0], [3.0], [8.0]])
        >>> bool(jnp.allclose(reversible_norm_inverse(params, *reversible_norm(params, x)), x, atol=1e-5))
        True
    """
    _check(params, y, name="y")
    expected = (*y.shape[:-2], 1, y.shape[-1])
    if statistics.mean.shape != expected:
        raise ValueError(
            f"statistics of y {list(y.shape)} must be {list(expected)}, got {list(statistics.mean.shape)}; pass those "
            "that reversible_norm returned for the same series"
        )
    x = y.astype(compute_dtype(y))
    if "bias" in params:
        x = x - _per_channel(params["bias"], x)
    if "scale" in params:
        x = x / (_per_channel(params["scale"], x) + epsilon**2)
    return (x * statistics.deviation.astype(x.dtype) + statistics.mean.astype(x.dtype)).astype(y.dtype)


def _check(params: Params, x: Array, *, name: str = "x") -> None:
    check_norm(params, x)
    if x.ndim < 2:
        raise ValueError(f"{name} must be [..., time, channels], got {list(x.shape)}")


def _per_channel(parameter: Array, x: Array) -> Array:
    return jnp.broadcast_to(parameter.astype(x.dtype), x.shape)
