"""Flips, rotation, scale and translation, with given or random parameters."""

from __future__ import annotations

from typing import Literal

import jax.numpy as jnp

from jaxnets.data.augment.affine import Method, affine, affine_matrix
from jaxnets.data.augment.images import (
    Fill,
    Range,
    Values,
    check_images,
    check_range,
    image_keys,
    integers,
    log_uniform,
    per_image,
    subkeys,
    symmetric,
    uniform,
)
from jaxnets.layer import names_errors
from jaxnets.nn.check import check_rate
from jaxnets.types import Array, ArrayLike, Key


@names_errors
def flip(images: Array, where: ArrayLike = True, *, axis: Literal["horizontal", "vertical"] = "horizontal") -> Array:
    """Mirror images.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        where: which images to mirror: one bool, or `[batch]`.
        axis: `"horizontal"` exchanges left and right, `"vertical"` top and bottom.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: if shapes do not fit or the axis is unknown.
        TypeError: if `images` are not floating point.

    Example:
        >>> flip(jnp.array([[[[1.0], [2.0]]]])).ravel()
        Array([2., 1.], dtype=float32)
    """
    check_images(images)
    if axis not in ("horizontal", "vertical"):
        raise ValueError(f"axis must be 'horizontal' or 'vertical', got {axis!r}")
    chosen = per_image("where", where, images)[:, None, None, None] != 0
    return jnp.where(chosen, jnp.flip(images, 2 if axis == "horizontal" else 1), images)


@names_errors
def random_flip(
    images: Array,
    *,
    key: Key | None,
    probability: float = 0.5,
    axis: Literal["horizontal", "vertical"] = "horizontal",
) -> Array:
    """Mirror each image with a probability.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        key: a typed PRNG key.
        probability: that an image is mirrored.
        axis: `"horizontal"` exchanges left and right, `"vertical"` top and bottom.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, if the probability is not in [0, 1], or if `images` have another shape.
        TypeError: if `images` are not floating point.

    Example:
        >>> import jax
        >>> images = jnp.tile(jnp.array([0.0, 1.0])[None, None, :, None], (8, 1, 1, 1))
        >>> sorted(set(random_flip(images, key=jax.random.key(0))[:, 0, 0, 0].tolist()))
        [0.0, 1.0]
    """
    check_images(images)
    check_rate(probability, "probability", "the share of images that are mirrored")
    draws = uniform(image_keys(images, key), (0.0, 1.0))
    return flip(images, draws < probability, axis=axis)


@names_errors
def rotate(images: Array, degrees: ArrayLike, *, fill: Fill = 0.0, method: Method = "bilinear") -> Array:
    """Rotate images about their center, counter-clockwise, keeping their size.

    Multiples of 90 degrees move pixels of square images exactly.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        degrees: one angle, or `[batch]`.
        fill: value outside the image: one number, or one per channel.
        method: `"bilinear"` or `"nearest"`.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: if shapes do not fit or the method is unknown.
        TypeError: if `images` are not floating point.

    Example:
        >>> rotate(jnp.array([[[[1.0], [2.0]], [[3.0], [4.0]]]]), 90.0)[0, :, :, 0]
        Array([[2., 4.],
               [1., 3.]], dtype=float32)

    Warning:
        torchvision's `rotate` reads the nearest pixel by default.
    """
    check_images(images)
    matrices = affine_matrix(degrees=per_image("degrees", degrees, images))
    return affine(images, matrices, fill=fill, method=method)


@names_errors
def random_rotation(
    images: Array, *, key: Key | None, degrees: Range, fill: Fill = 0.0, method: Method = "bilinear"
) -> Array:
    """Rotate each image by an angle drawn uniformly.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        key: a typed PRNG key.
        degrees: the largest angle in both directions, or a pair (low, high); counter-clockwise.
        fill: value outside the image: one number, or one per channel.
        method: `"bilinear"` or `"nearest"`.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, if the range is empty, or if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> from functools import partial
        >>> import jax
        >>> images = jax.random.uniform(jax.random.key(0), (2, 28, 28, 1))
        >>> rotated = jax.jit(partial(random_rotation, degrees=15.0))(images, key=jax.random.key(1))
        >>> rotated.shape
        (2, 28, 28, 1)
    """
    check_images(images)
    low_high = symmetric("degrees", degrees)
    angles = uniform(image_keys(images, key), low_high)
    return rotate(images, angles, fill=fill, method=method)


@names_errors
def scale(images: Array, factor: ArrayLike, *, fill: Fill = 0.0, method: Method = "bilinear") -> Array:
    """Magnify images about their center, keeping their size.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        factor: one factor, or `[batch]`; 2 doubles lengths, 1/2 halves them.
        fill: value outside the image: one number, or one per channel.
        method: `"bilinear"` (without smoothing when shrinking) or `"nearest"`.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: if shapes do not fit or the method is unknown.
        TypeError: if `images` are not floating point.

    Example:
        >>> images = jnp.array([0.0, 4.0, 8.0])[None, None, :, None]
        >>> scale(images, 2.0).ravel()
        Array([2., 4., 6.], dtype=float32)
    """
    check_images(images)
    return affine(images, affine_matrix(factor=per_image("factor", factor, images)), fill=fill, method=method)


@names_errors
def random_scale(
    images: Array,
    *,
    key: Key | None,
    factor: tuple[float, float] = (0.8, 1.25),
    fill: Fill = 0.0,
    method: Method = "bilinear",
) -> Array:
    """Magnify each image by a random factor with uniform logarithm, so 1/f is as likely as f.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        key: a typed PRNG key.
        factor: (low, high), positive.
        fill: value outside the image: one number, or one per channel.
        method: `"bilinear"` or `"nearest"`.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, if the range is empty or not positive, or if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> import jax
        >>> jax.jit(random_scale)(jnp.ones((2, 8, 8, 1)), key=jax.random.key(0)).shape
        (2, 8, 8, 1)

    Warning:
        torchvision's `RandomAffine` draws the factor itself uniformly.
    """
    check_images(images)
    check_range("factor", factor, least=1e-6)
    factors = log_uniform(image_keys(images, key), factor)
    return scale(images, factors, fill=fill, method=method)


@names_errors
def translate(images: Array, offsets: Values, *, fill: Fill = 0.0, method: Method = "bilinear") -> Array:
    """Translate images by pixels or fractions of pixels.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        offsets: pixels (down, right), `[2]`, or `[batch, 2]`.
        fill: value outside the image: one number, or one per channel.
        method: `"bilinear"` or `"nearest"`.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`, exact for whole pixels.

    Raises:
        ValueError: if shapes do not fit or the method is unknown.
        TypeError: if `images` are not floating point.

    Example:
        >>> translate(jnp.array([1.0, 2.0, 3.0])[None, None, :, None], (0, 1)).ravel()
        Array([0., 1., 2.], dtype=float32)
    """
    check_images(images)
    moves = per_image("offsets", offsets, images, (2,))
    return affine(images, affine_matrix(offsets=moves), fill=fill, method=method)


@names_errors
def random_translation(images: Array, *, key: Key | None, pixels: int | tuple[int, int], fill: Fill = 0.0) -> Array:
    """Translate each image by whole pixels, all offsets equally likely.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        key: a typed PRNG key.
        pixels: the largest offset in both directions: one for both axes, or (vertical, horizontal).
        fill: value outside the image: one number, or one per channel.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, if `pixels` are negative, or if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> from functools import partial
        >>> import jax
        >>> move = jax.jit(partial(random_translation, pixels=(1, 0)))
        >>> move(jnp.ones((1, 4, 4, 1)), key=jax.random.key(0)).sum().item() in (12, 16)
        True
    """
    check_images(images)
    vertical, horizontal = pixels if isinstance(pixels, tuple) else (pixels, pixels)
    if vertical < 0 or horizontal < 0:
        raise ValueError(f"pixels must be at least 0, got {pixels}")
    keys = image_keys(images, key)
    down = integers(subkeys(keys, "down"), -vertical, vertical)
    right = integers(subkeys(keys, "right"), -horizontal, horizontal)
    return translate(images, jnp.stack([down, right], axis=-1), fill=fill, method="nearest")


@names_errors
def random_affine(
    images: Array,
    *,
    key: Key | None,
    degrees: Range = 0.0,
    factor: tuple[float, float] = (1.0, 1.0),
    pixels: float | tuple[float, float] = 0.0,
    fill: Fill = 0.0,
    method: Method = "bilinear",
) -> Array:
    """Scale, rotate and translate each image in one step, which loses less sharpness than three steps.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        key: a typed PRNG key.
        degrees: the largest angle in both directions, or a pair (low, high).
        factor: (low, high) of the magnification; its logarithm is drawn uniformly.
        pixels: the largest offset in both directions: one for both axes, or (vertical, horizontal); not only whole
            pixels.
        fill: value outside the image: one number, or one per channel.
        method: `"bilinear"` or `"nearest"`.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, if a range is empty, or if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> from functools import partial
        >>> import jax
        >>> images = jax.random.uniform(jax.random.key(0), (2, 28, 28, 1))
        >>> distort = jax.jit(partial(random_affine, degrees=10.0, factor=(0.9, 1.1), pixels=2.0))
        >>> distort(images, key=jax.random.key(1)).shape
        (2, 28, 28, 1)
    """
    check_images(images)
    low_high = symmetric("degrees", degrees)
    check_range("factor", factor, least=1e-6)
    vertical, horizontal = pixels if isinstance(pixels, tuple) else (pixels, pixels)
    keys = image_keys(images, key)
    angles = uniform(subkeys(keys, "degrees"), low_high)
    factors = log_uniform(subkeys(keys, "factor"), factor)
    down = uniform(subkeys(keys, "down"), symmetric("pixels", vertical))
    right = uniform(subkeys(keys, "right"), symmetric("pixels", horizontal))
    matrices = affine_matrix(degrees=angles, factor=factors, offsets=jnp.stack([down, right], axis=-1))
    return affine(images, matrices, fill=fill, method=method)
