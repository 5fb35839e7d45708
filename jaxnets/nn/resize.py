"""Larger and smaller grids: the nearest entry, lines between entries, or channels put side by side."""

from __future__ import annotations

import operator
from typing import Any, Literal, TypeAlias, get_args

import jax.numpy as jnp
import numpy as np

from jaxnets.layer import layer
from jaxnets.nn.check import check_floating, compute_dtype
from jaxnets.types import Array

Method: TypeAlias = Literal["nearest", "bilinear"]
Coordinates: TypeAlias = Literal["half_pixel", "asymmetric", "align_corners"]


@layer
def resize(
    x: Array, size: tuple[int, ...], *, method: Method = "nearest", coordinates: Coordinates = "half_pixel"
) -> Array:
    """Sample a grid at other positions: $y_o = x(p(o))$, where $p(o)$ lies between the entries of x.

    With $in$ and $out$ entries along an axis, and o from 0 to $out - 1$:

    - `"half_pixel"`: $p = (o + 1/2) in/out - 1/2$; entries are areas, and the whole areas coincide.
    - `"asymmetric"`: $p = o in/out$; the first entries coincide.
    - `"align_corners"`: $p = o (in - 1) / (out - 1)$; the first and the last entries coincide.

    Args:
        x: `[..., *spatial, channels]`, floating point.
        size: of the result, one number a spatial axis.
        method: `"nearest"` takes one entry; `"bilinear"` the straight line between two along each axis, and beyond the
            outermost entry that one.
        coordinates: which p.

    Returns:
        `[..., *size, channels]`, in the dtype of `x`.

    Raises:
        ValueError: if `x` has too few axes, a size is not positive, or a name is unknown.
        TypeError: if `x` is not floating point.

    Example:
        >>> resize(jnp.array([[0.0], [1.0]]), (4,), method="bilinear").ravel()
        Array([0.  , 0.25, 0.75, 1.  ], dtype=float32)
        >>> resize(jnp.array([[0.0], [3.0]]), (4,), method="bilinear", coordinates="align_corners").ravel()
        Array([0., 1., 2., 3.], dtype=float32)

    Warning:
        PyTorch's `interpolate` is asymmetric for `"nearest"` (half_pixel is its `"nearest-exact"`), and half_pixel for
        `"bilinear"`, or align_corners where that is set. TensorFlow 2 is half_pixel throughout, TensorFlow 1 was
        asymmetric. Entries are not averaged where the grid becomes smaller; `jax.image.resize(antialias=True)` does
        that.
    """
    check_floating(x)
    sizes = _sizes("size", size)
    if x.ndim < len(sizes) + 1:
        raise ValueError(f"x must be [..., *spatial, channels] with {len(sizes)} spatial axes, got {list(x.shape)}")
    for name, value, known in (("method", method, Method), ("coordinates", coordinates, Coordinates)):
        if value not in get_args(known):
            raise ValueError(f"{name} must be one of {list(get_args(known))}, got {value!r}")
    along = _nearest if method == "nearest" else _linear
    for axis, out in enumerate(sizes, start=x.ndim - len(sizes) - 1):
        if x.shape[axis] == 0:
            raise ValueError(f"x must have entries along its spatial axes, got {list(x.shape)}")
        if x.shape[axis] != out:
            x = along(x, axis, out, coordinates)
    return x


@layer
def upsample(
    x: Array,
    factor: int | tuple[int, ...],
    *,
    spatial: int = 2,
    method: Method = "nearest",
    coordinates: Coordinates = "half_pixel",
) -> Array:
    """Make a grid larger by whole factors, by `resize`.

    Args:
        x: `[..., *spatial, channels]`, floating point.
        factor: one for all spatial axes, or one for each.
        spatial: how many spatial axes there are, if `factor` is one number.
        method: as in `resize`.
        coordinates: as in `resize`; for `"nearest"`, half_pixel and asymmetric are the same here.

    Returns:
        `[..., *(factor * size), channels]`, in the dtype of `x`.

    Raises:
        ValueError: if `x` has too few axes, or a factor is not positive.
        TypeError: if `x` is not floating point.

    Example:
        >>> upsample(jnp.array([[1.0], [2.0]]), 2, spatial=1).ravel()
        Array([1., 1., 2., 2.], dtype=float32)
    """
    factors = _sizes("factor", (factor,) * spatial if hasattr(factor, "__index__") else factor)
    if jnp.ndim(x) < len(factors) + 1:
        raise ValueError(f"x must be [..., *spatial, channels] with {len(factors)} spatial axes, got {list(x.shape)}")
    grid = x.shape[x.ndim - len(factors) - 1 : -1]
    size = tuple(f * n for f, n in zip(factors, grid, strict=True))
    resized: Array = resize(x, size, method=method, coordinates=coordinates)
    return resized


@layer
def pixel_shuffle(x: Array, factor: int) -> Array:
    """Put channels side by side: $y[f h + i, f w + j, c] = x[h, w, f^2 c + f i + j]$.

    Args:
        x: `[..., height, width, factor^2 * channels]`.
        factor: f, by which height and width grow.

    Returns:
        `[..., factor * height, factor * width, channels]`.

    Raises:
        ValueError: if the channels are no multiple of factor^2.

    Example:
        >>> pixel_shuffle(jnp.array([[[1.0, 2.0, 3.0, 4.0]]]), 2)[..., 0]
        Array([[1., 2.],
               [3., 4.]], dtype=float32)

    Reference:
        Shi et al., Real-time single image and video super-resolution using an efficient sub-pixel convolutional neural
        network, 2016.

    Warning:
        As PyTorch's `PixelShuffle`. TensorFlow's `depth_to_space` reads channel C (f i + j) + c, with C channels.
    """
    (f,) = _sizes("factor", (factor,))
    if x.ndim < 3 or x.shape[-1] % f**2:
        raise ValueError(
            f"x must be [..., height, width, channels] with channels a multiple of {f}^2, got {list(x.shape)}"
        )
    *leading, height, width, channels = x.shape
    parts = x.reshape((*leading, height, width, channels // f**2, f, f))
    n = len(leading)
    moved = parts.transpose((*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return moved.reshape((*leading, height * f, width * f, channels // f**2))


@layer
def pixel_unshuffle(x: Array, factor: int) -> Array:
    """Undo `pixel_shuffle`: $y[h, w, f^2 c + f i + j] = x[f h + i, f w + j, c]$.

    Args:
        x: `[..., factor * height, factor * width, channels]`.
        factor: f, by which height and width shrink.

    Returns:
        `[..., height, width, factor^2 * channels]`.

    Raises:
        ValueError: if height or width are no multiple of the factor.

    Example:
        >>> pixel_unshuffle(jnp.array([[[1.0], [2.0]], [[3.0], [4.0]]]), 2)
        Array([[[1., 2., 3., 4.]]], dtype=float32)

    Reference:
        Shi et al., 2016, as in `pixel_shuffle`.
    """
    (f,) = _sizes("factor", (factor,))
    if x.ndim < 3 or x.shape[-3] % f or x.shape[-2] % f:
        raise ValueError(
            f"x must be [..., height, width, channels] with height and width multiples of {f}, got {list(x.shape)}"
        )
    *leading, height, width, channels = x.shape
    parts = x.reshape((*leading, height // f, f, width // f, f, channels))
    n = len(leading)
    moved = parts.transpose((*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return moved.reshape((*leading, height // f, width // f, channels * f**2))


def _sizes(name: str, values: Any) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(value) for value in values)
    except TypeError:
        raise TypeError(f"{name} must hold whole numbers, got {values!r}") from None
    if not sizes or min(sizes) < 1:
        raise ValueError(f"{name} must hold positive numbers, one a spatial axis, got {values!r}")
    return sizes


def _nearest(x: Array, axis: int, out: int, coordinates: Coordinates) -> Array:
    size, places = x.shape[axis], np.arange(out)
    nearest: np.ndarray[Any, Any]
    if coordinates == "align_corners":
        nearest = np.floor(places * (size - 1) / max(out - 1, 1) + 0.5).astype(np.int32)
    elif out % size == 0:
        return jnp.repeat(x, out // size, axis=axis)
    elif coordinates == "half_pixel":  # floor(p + 1/2), in whole numbers
        nearest = (2 * places + 1) * size // (2 * out)
    else:
        nearest = places * size // out
    return jnp.take(x, nearest.astype(np.int32), axis=axis)


def _linear(x: Array, axis: int, out: int, coordinates: Coordinates) -> Array:
    size, places = x.shape[axis], np.arange(out)
    if coordinates == "half_pixel":
        position = (places + 0.5) * size / out - 0.5
    elif coordinates == "asymmetric":
        position = places * size / out
    else:
        position = places * (size - 1) / max(out - 1, 1)
    position = np.clip(position, 0, size - 1)
    below = np.minimum(np.floor(position).astype(np.int32), max(size - 2, 0))
    wide = x.astype(compute_dtype(x))
    shape = (1,) * axis + (out,) + (1,) * (x.ndim - axis - 1)
    weight = jnp.asarray((position - below).reshape(shape), wide.dtype)
    # one gather for both: jaxlib 0.7.2 returns wrong values for two of the same constant
    both = jnp.take(wide, np.concatenate([below, np.minimum(below + 1, size - 1)]), axis=axis)
    first, second = jnp.split(both, 2, axis=axis)
    return ((1 - weight) * first + weight * second).astype(x.dtype)
