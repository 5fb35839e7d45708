"""Crops, with padding for crops of the full size."""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp

from jaxnets.data.augment.images import (
    Fill,
    Values,
    check_images,
    image_keys,
    integers,
    per_image,
    subkeys,
    with_margin,
)
from jaxnets.layer import names_errors
from jaxnets.types import Array, Key


@names_errors
def crop(images: Array, corners: Values, size: int | tuple[int, int]) -> Array:
    """Crop a window from each image.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        corners: the upper left pixel (row, column) of the window, integers `[2]`, or `[batch, 2]`. A window that
            extends outside the image is moved inside.
        size: of the window: (height, width), or one number for both.

    Returns:
        `[batch, *size, channels]`, in the dtype of `images`.

    Raises:
        ValueError: if the window is larger than the image, or shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> images = jnp.arange(9.0).reshape(1, 3, 3, 1)
        >>> crop(images, (1, 0), 2)[0, :, :, 0]
        Array([[3., 4.],
               [6., 7.]], dtype=float32)
    """
    check_images(images)
    height, width = size if isinstance(size, tuple) else (size, size)
    if not (0 < height <= images.shape[1] and 0 < width <= images.shape[2]):
        raise ValueError(f"a window {(height, width)} does not fit into images {list(images.shape)}")
    last = jnp.array([images.shape[1] - height, images.shape[2] - width], jnp.int32)
    starts = per_image("corners", corners, images, (2,)).astype(jnp.int32)
    starts = jnp.clip(starts, 0, last[None])  # dynamic_slice would count a negative corner from the end

    def cut(image: Array, start: Array) -> Array:
        return jax.lax.dynamic_slice(image, (start[0], start[1], jnp.int32(0)), (height, width, image.shape[-1]))

    return jax.vmap(cut)(images, starts)


@names_errors
def random_crop(
    images: Array,
    *,
    key: Key | None,
    size: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    mode: Literal["constant", "reflect", "edge"] = "constant",
    fill: Fill = 0.0,
) -> Array:
    """Pad images and crop a window from each, at a uniformly random position.

    With `padding=4` and no size it is the usual augmentation for small images.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        key: a typed PRNG key.
        size: of the window: (height, width), or one number for both; by default the size of the images.
        padding: pixels added on every side first: one number, or (vertical, horizontal).
        mode: pad with the `"constant"` `fill`, by `"reflect"`ion (the outermost pixels are not repeated), or with the
            `"edge"` pixels.
        fill: for mode `"constant"`: one number, or one per channel.

    Returns:
        `[batch, *size, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, if the window does not fit, the padding is negative, or the mode is unknown.
        TypeError: if `images` are not floating point.

    Example:
        >>> from functools import partial
        >>> images = jnp.ones((2, 32, 32, 3))
        >>> jax.jit(partial(random_crop, padding=4))(images, key=jax.random.key(0)).shape
        (2, 32, 32, 3)

    Reference:
        Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, 2012.
    """
    check_images(images)
    vertical, horizontal = padding if isinstance(padding, tuple) else (padding, padding)
    if vertical < 0 or horizontal < 0:
        raise ValueError(f"padding must be at least 0, got {padding}")
    if mode not in ("constant", "reflect", "edge"):
        raise ValueError(f"mode must be 'constant', 'reflect' or 'edge', got {mode!r}")
    height, width = images.shape[1:3] if size is None else size if isinstance(size, tuple) else (size, size)
    if mode == "constant":
        padded = with_margin(images, vertical, horizontal, fill)
    else:
        padded = jnp.pad(images, ((0, 0), (vertical, vertical), (horizontal, horizontal), (0, 0)), mode=mode)
    spare = padded.shape[1] - height, padded.shape[2] - width
    if min(height, width, spare[0] + 1, spare[1] + 1) < 1:
        raise ValueError(f"a window {(height, width)} does not fit into images {list(images.shape)} with {padding=}")
    keys = image_keys(images, key)
    rows, columns = integers(subkeys(keys, "row"), 0, spare[0]), integers(subkeys(keys, "column"), 0, spare[1])
    return crop(padded, jnp.stack([rows, columns], axis=-1), (height, width))
