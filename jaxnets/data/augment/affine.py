"""The sampler of all geometric augmentations: reads images at positions between their pixels."""

from __future__ import annotations

from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from jaxnets.data.augment.images import Fill, Values, check_images, per_image, with_margin
from jaxnets.layer import names_errors
from jaxnets.nn.check import compute_dtype
from jaxnets.types import Array, ArrayLike

Method: TypeAlias = Literal["bilinear", "nearest"]
"""How to read between pixels: the weighted mean of the four nearest, or the nearest one."""


@names_errors
def sample_at(images: Array, rows: Array, columns: Array, *, fill: Fill = 0.0, method: Method = "bilinear") -> Array:
    """Read images at positions in pixels; (0, 0) is the center of the upper left pixel.

    Outside the image the value is `fill`, so bilinear reads within one pixel of the edge mix with it.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        rows: the row of each position, `[batch, new_height, new_width]`.
        columns: the column of each position, `[batch, new_height, new_width]`.
        fill: value outside the image: one number, or one per channel.
        method: `"bilinear"` or `"nearest"` (halves to the even pixel, as in PyTorch).

    Returns:
        `[batch, new_height, new_width, channels]`, in the dtype of `images`. Gradients with respect to bilinear
        images and positions are exact.

    Raises:
        ValueError: if shapes do not fit or the method is unknown.
        TypeError: if `images` are not floating point.

    Example:
        >>> images = jnp.array([[[[1.0], [2.0]]]])
        >>> sample_at(images, jnp.zeros((1, 1, 1)), jnp.full((1, 1, 1), 0.25)).item()
        1.25

    Warning:
        This is `align_corners=True` without the division in PyTorch's `grid_sample`, and mode `"grid-constant"` of
        `scipy.ndimage.map_coordinates`.
    """
    check_images(images)
    if rows.ndim != 3 or rows.shape != columns.shape or rows.shape[0] != images.shape[0]:
        raise ValueError(
            f"rows and columns must be [{images.shape[0]}, new_height, new_width], "
            f"got {list(rows.shape)} and {list(columns.shape)}"
        )
    if method not in ("bilinear", "nearest"):
        raise ValueError(f"method must be 'bilinear' or 'nearest', got {method!r}")
    batch, height, width, channels = images.shape
    wide = compute_dtype(images)
    # With a margin of one pixel of fill, every position outside has the value of the nearest position in the margin.
    pixels = with_margin(images, 1, 1, fill).reshape(batch, (height + 2) * (width + 2), channels)
    row = jnp.clip(rows.astype(wide), -1, height)
    column = jnp.clip(columns.astype(wide), -1, width)

    def read(row: Array, column: Array) -> Array:
        places = (row.astype(jnp.int32) + 1) * (width + 2) + column.astype(jnp.int32) + 1
        found: Array = jax.vmap(lambda image, place: image.at[place].get(mode="promise_in_bounds"))(pixels, places)
        return found

    if method == "nearest":
        nowhere = (jnp.isnan(row) | jnp.isnan(column))[..., None]
        return jnp.where(nowhere, jnp.nan, read(jnp.round(row), jnp.round(column)))
    top, left = jnp.minimum(jnp.floor(row), height - 1), jnp.minimum(jnp.floor(column), width - 1)
    down, right = (row - top)[..., None], (column - left)[..., None]

    def between(row: Array) -> Array:
        return (1 - right) * read(row, left).astype(wide) + right * read(row, left + 1).astype(wide)

    return ((1 - down) * between(top) + down * between(top + 1)).astype(images.dtype)


def affine_matrix(*, degrees: ArrayLike = 0.0, factor: ArrayLike = 1.0, offsets: Values = (0.0, 0.0)) -> Array:
    """Compute the matrices with which `affine` scales, rotates about the center, then translates.

    For scale f, angle a and translation t, the output at position p shows the input at R(-a) (p - t) / f. Multiples
    of 90 degrees are exact.

    Args:
        degrees: angles, counter-clockwise, `[...]`.
        factor: magnifications, `[...]`; 2 doubles lengths.
        offsets: translations in pixels (down, right), `[..., 2]`.

    Returns:
        `[..., 2, 3]`, in at least float32.

    Example:
        >>> affine_matrix(degrees=90.0, offsets=jnp.array([1.0, 0.0]))
        Array([[ 0.,  1.,  0.],
               [-1.,  0.,  1.]], dtype=float32)
    """
    arrays = [jnp.asarray(value) for value in (degrees, factor, offsets)]
    wide = jnp.float64 if any(array.dtype == jnp.float64 for array in arrays) else jnp.float32
    degrees, factor, offsets = (array.astype(wide) for array in arrays)
    shape = jnp.broadcast_shapes(degrees.shape, factor.shape, offsets.shape[:-1])
    cosine, sine = _cosine_and_sine(jnp.broadcast_to(degrees, shape))
    factor, offsets = jnp.broadcast_to(factor, shape), jnp.broadcast_to(offsets, (*shape, 2))
    cosine, sine = cosine / factor, sine / factor
    down, right = offsets[..., 0], offsets[..., 1]
    first = jnp.stack([cosine, sine, -(cosine * down + sine * right)], axis=-1)
    second = jnp.stack([-sine, cosine, sine * down - cosine * right], axis=-1)
    return jnp.stack([first, second], axis=-2) + jnp.zeros((), wide)  # the sum turns -0 into 0


def _cosine_and_sine(degrees: Array) -> tuple[Array, Array]:
    """Cosine and sine, exact at multiples of 90 degrees."""
    quarters = jnp.round(degrees / 90)
    rest = jnp.deg2rad(degrees - 90 * quarters)
    quadrant = jnp.mod(quarters, 4)
    is_odd = jnp.mod(quadrant, 2) == 1
    sign = jnp.where(quadrant >= 2, -1, 1).astype(degrees.dtype)
    cosine, sine = jnp.cos(rest), jnp.sin(rest)
    return sign * jnp.where(is_odd, -sine, cosine), sign * jnp.where(is_odd, cosine, sine)


@names_errors
def affine(images: Array, matrices: ArrayLike, *, fill: Fill = 0.0, method: Method = "bilinear") -> Array:
    """Map images: the output at position p, in pixels from the center, is the input at A p + b.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        matrices: A and b side by side, `[2, 3]`, or `[batch, 2, 3]` with one per image; positions are
            (row, column). See `affine_matrix`.
        fill: value outside the image: one number, or one per channel.
        method: `"bilinear"` or `"nearest"`.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: if shapes do not fit or the method is unknown.
        TypeError: if `images` are not floating point.

    Example:
        >>> images = jnp.array([[[[1.0], [2.0]], [[3.0], [4.0]]]])
        >>> transpose = jnp.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        >>> affine(images, transpose)[0, :, :, 0]
        Array([[1., 3.],
               [2., 4.]], dtype=float32)
    """
    check_images(images)
    _, height, width, _ = images.shape
    entries = per_image("matrices", matrices, images, (2, 3))[:, :, :, None, None]
    row = (jnp.arange(height, dtype=entries.dtype) - (height - 1) / 2)[None, :, None]
    column = (jnp.arange(width, dtype=entries.dtype) - (width - 1) / 2)[None, None, :]
    rows, columns = (entries[:, i, 0] * row + entries[:, i, 1] * column + entries[:, i, 2] for i in (0, 1))
    return sample_at(images, rows + (height - 1) / 2, columns + (width - 1) / 2, fill=fill, method=method)
