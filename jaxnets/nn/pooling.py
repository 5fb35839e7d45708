"""Pooling: maxima and means over windows, over everything, and over as many bins as asked for."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.kernels.pooling import is_exact_only_by_slices, is_fast_on_cpu, reduce_windows
from jaxnets.layer import layer
from jaxnets.nn.check import check_floating, compute_dtype, flatten_leading
from jaxnets.nn.window import (
    PerAxis,
    check_spatial,
    check_window,
    output_sizes,
    pad_spatial,
    per_axis,
    resolve_padding,
    window_size,
)
from jaxnets.types import Array, Padding

Pairs = tuple[tuple[int, int], ...]


@layer
def max_pool(x: Array, window: Sequence[int], *, stride: PerAxis | None = None, padding: Padding = "VALID") -> Array:
    """Take the maximum of each window: $y[i, c] = max_w x[stride i + w - padding, c]$.

    The gradient goes to the first maximum of a window in row-major order, as in PyTorch. NaN is larger than anything.

    Args:
        x: `[..., *spatial, channels]`, floating point or integers, with any number of leading axes.
        window: its size on each spatial axis; its length says how many spatial axes there are.
        stride: step of the window, an int or one for each spatial axis; None is the window itself.
        padding: around `x`, never larger than any entry: `"VALID"`, `"SAME"`, an int, or for each spatial axis an int
            or a pair (before, after).

    Returns:
        `[..., *positions, channels]`.

    Raises:
        ValueError: if the window does not fit into `x`, or is not larger than the padding.
        TypeError: if `window` is an int or `x` holds no numbers.

    Example:
        >>> max_pool(jnp.array([1.0, 3.0, 2.0, 0.0]).reshape(1, 4, 1), (2,)).ravel()
        Array([3., 2.], dtype=float32)

    Warning:
        PyTorch's `ceil_mode=True` is a `padding` with more entries after.
    """
    _check_number(x)
    rows, leading, sizes, steps, sides = _prepare(x, window, stride, padding)
    floating = jnp.issubdtype(x.dtype, jnp.floating)
    lowest = np.asarray(-np.inf if floating else np.iinfo(x.dtype).min, x.dtype)
    if is_fast_on_cpu() or is_exact_only_by_slices(x):
        y: Array = reduce_windows("max", pad_spatial(rows, sides, lowest), sizes, steps)
    else:
        y = jax.lax.reduce_window(rows, lowest, jax.lax.max, *_reduce_window_settings(sizes, steps, sides))
    return y.reshape((*leading, *y.shape[1:]))


@layer
def avg_pool(
    x: Array,
    window: Sequence[int],
    *,
    stride: PerAxis | None = None,
    padding: Padding = "VALID",
    count_padding: bool = True,
) -> Array:
    """Take the mean of each window: $y[i, c] = mean_w x[stride i + w - padding, c]$.

    Args:
        x: `[..., *spatial, channels]`, floating point, with any number of leading axes.
        window: its size on each spatial axis; its length says how many spatial axes there are.
        stride: step of the window, an int or one for each spatial axis; None is the window itself.
        padding: zeros around `x`: `"VALID"`, `"SAME"`, an int, or for each spatial axis an int or a pair (before,
            after).
        count_padding: True divides every sum by the size of the window, False by how much of the window is inside.

    Returns:
        `[..., *positions, channels]`.

    Raises:
        ValueError: if the window does not fit into `x`, or is not larger than the padding.
        TypeError: if `window` is an int or `x` is not floating point.

    Example:
        >>> x = jnp.array([2.0, 4.0]).reshape(1, 2, 1)
        >>> avg_pool(x, (2,), stride=1, padding=1).ravel()
        Array([1., 3., 2.], dtype=float32)
        >>> avg_pool(x, (2,), stride=1, padding=1, count_padding=False).ravel()
        Array([2., 3., 4.], dtype=float32)

    Warning:
        `count_padding` is `count_include_pad` of PyTorch and Flax, with their default. TensorFlow never counts padding.
    """
    check_floating(x)
    rows, leading, sizes, steps, sides = _prepare(x, window, stride, padding)
    wide = rows.astype(compute_dtype(x))
    if is_fast_on_cpu():
        total: Array = reduce_windows("sum", pad_spatial(wide, sides, 0), sizes, steps)
    else:
        zero = np.zeros((), wide.dtype)
        total = jax.lax.reduce_window(wide, zero, jax.lax.add, *_reduce_window_settings(sizes, steps, sides))
    if count_padding:
        y = total / window_size(sizes)
    else:
        y = total / jnp.asarray(_counts(rows.shape[1:-1], sizes, steps, sides), total.dtype)
    return y.astype(x.dtype).reshape((*leading, *y.shape[1:]))


@layer
def global_max_pool(x: Array, *, rank: int | None = None) -> Array:
    """Take the maximum over all spatial axes; its gradient goes to the first maximum.

    Args:
        x: `[..., *spatial, channels]`, floating point or integers.
        rank: how many axes are spatial; None takes all but the first, the batch, and the last.

    Returns:
        `[..., channels]`.

    Raises:
        ValueError: if `x` has no such axes, or they are empty.

    Example:
        >>> global_max_pool(jnp.arange(6.0).reshape(1, 3, 2))
        Array([[4., 5.]], dtype=float32)

    Warning:
        At ties, `jnp.max` and PyTorch's `amax` divide the gradient among all maxima.
    """
    _check_number(x)
    flat = _flatten_spatial(x, rank)
    return _first_maximum(flat, axis=flat.ndim - 2)


@layer
def global_avg_pool(x: Array, *, rank: int | None = None) -> Array:
    """Take the mean over all spatial axes.

    Args:
        x: `[..., *spatial, channels]`, floating point.
        rank: how many axes are spatial; None takes all but the first, the batch, and the last.

    Returns:
        `[..., channels]`.

    Raises:
        ValueError: if `x` has no such axes, or they are empty.
        TypeError: if `x` is not floating point.

    Example:
        >>> global_avg_pool(jnp.arange(6.0).reshape(1, 3, 2))
        Array([[2., 3.]], dtype=float32)

    Reference:
        Lin, Chen, Yan: Network In Network, 2014.
    """
    check_floating(x)
    flat = _flatten_spatial(x, rank)
    return jnp.mean(flat, axis=-2, dtype=compute_dtype(x)).astype(x.dtype)


@layer
def adaptive_avg_pool(x: Array, output_size: Sequence[int]) -> Array:
    """Cut each spatial axis into as many bins as asked for and take the mean of each.

    Bin i of `o` on an axis of `n` entries is [floor(i n / o), ceil((i + 1) n / o)), as in PyTorch: bins overlap where
    `o` does not divide `n`.

    Args:
        x: `[..., *spatial, channels]`, floating point.
        output_size: how many bins on each spatial axis; its length says how many spatial axes there are.

    Returns:
        `[..., *output_size, channels]`.

    Raises:
        ValueError: if `x` has too few axes, or an empty one.
        TypeError: if `output_size` is an int or `x` is not floating point.

    Example:
        >>> adaptive_avg_pool(jnp.array([1.0, 2.0, 6.0]).reshape(1, 3, 1), (2,)).ravel()
        Array([1.5, 4. ], dtype=float32)

    Reference:
        He et al.: Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition, 2014.
    """
    check_floating(x)
    sizes = _check_bins(x, output_size)
    y = x.astype(compute_dtype(x))
    for axis, count in enumerate(sizes, start=x.ndim - len(sizes) - 1):
        bins = _bins(x.shape[axis], count)
        parts = [jax.lax.slice_in_dim(y, start, end, axis=axis) for start, end in bins]
        y = jnp.stack([jnp.mean(part, axis=axis) for part in parts], axis=axis)
    return y.astype(x.dtype)


@layer
def adaptive_max_pool(x: Array, output_size: Sequence[int]) -> Array:
    """Cut each spatial axis into as many bins as asked for and take the maximum of each.

    The bins are those of `adaptive_avg_pool`; the gradient goes to the first maximum of a bin in row-major order.

    Args:
        x: `[..., *spatial, channels]`, floating point or integers.
        output_size: how many bins on each spatial axis; its length says how many spatial axes there are.

    Returns:
        `[..., *output_size, channels]`.

    Raises:
        ValueError: if `x` has too few axes, or an empty one.
        TypeError: if `output_size` is an int or `x` holds no numbers.

    Example:
        >>> adaptive_max_pool(jnp.array([1.0, 6.0, 2.0]).reshape(1, 3, 1), (2,)).ravel()
        Array([6., 6.], dtype=float32)

    Reference:
        He et al.: Spatial Pyramid Pooling in Deep Convolutional Networks for Visual Recognition, 2014.
    """
    _check_number(x)
    sizes = _check_bins(x, output_size)
    for axis, count in reversed(list(enumerate(sizes, start=x.ndim - len(sizes) - 1))):
        bins = [
            _first_maximum(jax.lax.slice_in_dim(x, start, end, axis=axis), axis)
            for start, end in _bins(x.shape[axis], count)
        ]
        x = jnp.stack(bins, axis=axis)
    return x


def _check_number(x: Array) -> None:
    """Raise TypeError unless `x` is an array of floating-point numbers or integers."""
    if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.integer):
        check_floating(x)


def _prepare(
    x: Array, window: Sequence[int], stride: PerAxis | None, padding: Padding
) -> tuple[Array, tuple[int, ...], tuple[int, ...], tuple[int, ...], Pairs]:
    """Check the arguments; return `x` with one leading axis, its leading shape, and the window, stride and padding."""
    sizes = check_window(window)
    rank, ones = len(sizes), (1,) * len(sizes)
    check_spatial(x, rank, f"the window {sizes}")
    steps = sizes if stride is None else per_axis("stride", stride, rank, minimum=1)
    spatial = x.shape[-rank - 1 : -1]
    sides = resolve_padding(padding, spatial, sizes, steps, ones)
    if any(max(side) >= size for side, size in zip(sides, sizes, strict=True)):
        raise ValueError(f"padding must be smaller than the window {sizes}, got {sides}")
    output_sizes(spatial, sizes, steps, sides, ones)
    return *flatten_leading(x, rank + 1), sizes, steps, sides


def _reduce_window_settings(
    window: tuple[int, ...], stride: tuple[int, ...], padding: Pairs
) -> tuple[tuple[int, ...], tuple[int, ...], Pairs]:
    return (1, *window, 1), (1, *stride, 1), ((0, 0), *padding, (0, 0))


def _counts(sizes: Sequence[int], window: tuple[int, ...], stride: tuple[int, ...], padding: Pairs) -> np.ndarray:
    """How many entries of each window are inside, `[1, *positions, 1]`."""
    counts = np.ones(())
    for size, width, step, (before, after) in zip(sizes, window, stride, padding, strict=True):
        starts = np.arange(0, size + before + after - width + 1, step) - before
        inside = np.minimum(starts + width, size) - np.maximum(starts, 0)
        counts = counts[..., None] * inside
    return counts[None, ..., None]


def _flatten_spatial(x: Array, rank: int | None) -> Array:
    """Reshape `[..., *spatial, channels]` to `[..., entries, channels]`."""
    spatial = x.ndim - 2 if rank is None else rank
    if spatial < 1 or x.ndim < spatial + 1:
        raise ValueError(
            f"x must be [batch, *spatial, channels] with one spatial axis or more, or [..., *spatial, "
            f"channels] with rank=how many are spatial, got x {list(x.shape)} and rank {rank}"
        )
    leading = x.shape[: x.ndim - spatial - 1]
    entries = window_size(x.shape[len(leading) : -1])
    if entries == 0:
        raise ValueError(f"the spatial axes of x are empty, got x {list(x.shape)}")
    return x.reshape((*leading, entries, x.shape[-1]))


def _check_bins(x: Array, output_size: Sequence[int]) -> tuple[int, ...]:
    sizes = check_window(output_size, name="output_size")
    check_spatial(x, len(sizes), f"the output_size {sizes}")
    if 0 in x.shape[-len(sizes) - 1 : -1]:
        raise ValueError(f"the spatial axes of x are empty, got x {list(x.shape)}")
    return sizes


def _bins(size: int, count: int) -> list[tuple[int, int]]:
    """Start and end of each bin."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]


def _first_maximum(x: Array, axis: int) -> Array:
    """The maximum over one axis, whose gradient goes to the first of equal ones."""
    chosen = jnp.argmax(jax.lax.stop_gradient(x), axis=axis, keepdims=True)
    is_chosen = jax.lax.broadcasted_iota(chosen.dtype, x.shape, axis) == chosen
    return jnp.sum(jnp.where(is_chosen, x, jnp.zeros((), x.dtype)), axis=axis, dtype=x.dtype)
