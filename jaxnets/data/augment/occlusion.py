"""Cutout: covers a box of each image."""

from __future__ import annotations

import jax.numpy as jnp

from jaxnets.data.augment.images import Fill, Values, check_images, image_keys, integers, per_image, subkeys
from jaxnets.layer import names_errors
from jaxnets.types import Array, Key


def box_mask(boxes: Array, height: int, width: int) -> Array:
    """Return the mask of boxes (top, left, bottom, right), the ends exclusive: bool `[batch, height, width, 1]`."""
    top, left, bottom, right = (boxes[:, i, None].astype(jnp.int32) for i in range(4))
    rows, columns = (jnp.arange(size, dtype=jnp.int32)[None] for size in (height, width))
    in_rows, in_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return (in_rows[:, :, None] & in_columns[:, None, :])[..., None]


@names_errors
def erase(images: Array, boxes: Values, *, fill: Fill = 0.0) -> Array:
    """Fill a box of each image.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        boxes: (top, left, bottom, right) in pixels, the last two exclusive, integers `[4]`, or `[batch, 4]`; parts
            outside the image are ignored.
        fill: value in the box: one number, or one per channel.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> erase(jnp.ones((1, 2, 3, 1)), (0, 1, 2, 9))[0, :, :, 0]
        Array([[1., 0., 0.],
               [1., 0., 0.]], dtype=float32)
    """
    check_images(images)
    corners = per_image("boxes", boxes, images, (4,))
    color = jnp.asarray(fill).astype(images.dtype)
    if color.shape not in ((), (images.shape[-1],)):
        raise ValueError(f"fill must be one number, or one for each channel, got {list(color.shape)}")
    color = jnp.broadcast_to(color, images.shape[-1:])[None, None, None]
    return jnp.where(box_mask(corners, *images.shape[1:3]), color, images)


@names_errors
def cutout(images: Array, *, key: Key | None, size: int | tuple[int, int], fill: Fill = 0.0) -> Array:
    """Fill a box of each image whose center is a random pixel, so parts of it may be outside the image.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        key: a typed PRNG key.
        size: of the box: (height, width) in pixels, or one number for both.
        fill: value in the box: one number, or one per channel.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, if the size is not positive, or if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> import jax
        >>> y = cutout(jnp.ones((1, 9, 9, 1)), key=jax.random.key(0), size=3)
        >>> (y == 0).sum().item() in (4, 6, 9)
        True

    Reference:
        DeVries, Taylor: Improved Regularization of Convolutional Neural Networks with Cutout, 2017.
    """
    check_images(images)
    box_height, box_width = size if isinstance(size, tuple) else (size, size)
    if box_height < 1 or box_width < 1:
        raise ValueError(f"size must be at least 1, got {size}")
    _, height, width, _ = images.shape
    keys = image_keys(images, key)
    top = integers(subkeys(keys, "row"), 0, height - 1) - box_height // 2
    left = integers(subkeys(keys, "column"), 0, width - 1) - box_width // 2
    return erase(images, jnp.stack([top, left, top + box_height, left + box_width], axis=-1), fill=fill)
