"""Brightness, contrast and saturation: images mixed with black, with their mean gray, with their gray version.

Values are not clipped unless `clip` is given: networks accept values above 1, and standardized images have no bounds.
"""

from __future__ import annotations

import jax.numpy as jnp

from jaxnets.data.augment.images import check_images, check_range, clipped, image_keys, per_image, uniform
from jaxnets.layer import names_errors
from jaxnets.nn.check import compute_dtype
from jaxnets.types import Array, ArrayLike, Key

LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in gray (ITU-R BT.601)."""


@names_errors
def adjust_brightness(images: Array, factor: ArrayLike, *, clip: tuple[float, float] | None = None) -> Array:
    """Multiply by a factor: $y = f x$.

    Args:
        images: `[batch, height, width, channels]`, floating point, black being 0.
        factor: one number, or `[batch]`.
        clip: bounds (low, high) to clip to; None does not clip.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> adjust_brightness(jnp.full((1, 1, 1, 1), 0.75), 2.0, clip=(0.0, 1.0)).item()
        1.0

    Warning:
        torchvision and PIL always clip to [0, 1] here, which is `clip=(0.0, 1.0)`.
    """
    check_images(images)
    factors = per_image("factor", factor, images)
    return _blend(images, jnp.zeros((1, 1, 1, 1), factors.dtype), factors, clip)


@names_errors
def adjust_contrast(images: Array, factor: ArrayLike, *, clip: tuple[float, float] | None = None) -> Array:
    """Change the distance from the image's mean gray m: $y = m + f (x - m)$.

    Args:
        images: `[batch, height, width, channels]`, floating point, with 1 channel or 3 (red, green, blue).
        factor: one number, or `[batch]`; 0 leaves only the mean.
        clip: bounds (low, high) to clip to; None does not clip.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> adjust_contrast(jnp.array([0.0, 1.0])[None, None, :, None], 0.5).ravel()
        Array([0.25, 0.75], dtype=float32)

    Warning:
        torchvision and PIL always clip to [0, 1], which is `clip=(0.0, 1.0)`. torchvision rounds the weight of red
        to 0.2989, PIL the mean to a whole gray level.
    """
    check_images(images)
    factors = per_image("factor", factor, images)
    mean = jnp.mean(_gray(images), axis=(1, 2, 3), keepdims=True)
    return _blend(images, mean, factors, clip)


@names_errors
def adjust_saturation(images: Array, factor: ArrayLike, *, clip: tuple[float, float] | None = None) -> Array:
    """Change the distance of each pixel from its gray $g = 0.299 red + 0.587 green + 0.114 blue$: $y = g + f (x - g)$.

    Args:
        images: `[batch, height, width, channels]`, floating point, with 1 channel (which does not change) or 3
            (red, green, blue).
        factor: one number, or `[batch]`; 0 gives gray images.
        clip: bounds (low, high) to clip to; None does not clip.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> adjust_saturation(jnp.array([1.0, 0.0, 0.0])[None, None, None], 0.0).ravel()
        Array([0.299, 0.299, 0.299], dtype=float32)

    Warning:
        torchvision and PIL always clip to [0, 1], which is `clip=(0.0, 1.0)`. torchvision rounds the weight of red
        to 0.2989.
    """
    check_images(images)
    factors = per_image("factor", factor, images)
    gray = _gray(images)
    return clipped(images, clip) if images.shape[-1] == 1 else _blend(images, gray, factors, clip)


@names_errors
def brightness(
    images: Array, *, key: Key | None, factor: tuple[float, float], clip: tuple[float, float] | None = None
) -> Array:
    """Multiply each image by a factor drawn uniformly; see `adjust_brightness`.

    Args:
        images: `[batch, height, width, channels]`, floating point, black being 0.
        key: a typed PRNG key.
        factor: (low, high).
        clip: bounds (low, high) to clip to; None does not clip.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, if the range is empty or negative, or if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> import jax
        >>> y = brightness(jnp.ones((1, 2, 2, 3)), key=jax.random.key(0), factor=(0.8, 1.2))
        >>> bool(0.8 <= y[0, 0, 0, 0] <= 1.2)
        True
    """
    return adjust_brightness(images, _factors(images, key, factor), clip=clip)


@names_errors
def contrast(
    images: Array, *, key: Key | None, factor: tuple[float, float], clip: tuple[float, float] | None = None
) -> Array:
    """Change the contrast of each image by a factor drawn uniformly; see `adjust_contrast`.

    Args:
        images: `[batch, height, width, channels]`, floating point, with 1 channel or 3 (red, green, blue).
        key: a typed PRNG key.
        factor: (low, high).
        clip: bounds (low, high) to clip to; None does not clip.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, if the range is empty or negative, or if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> import jax
        >>> images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))
        >>> contrast(images, key=jax.random.key(1), factor=(0.5, 1.5), clip=(0.0, 1.0)).shape
        (2, 8, 8, 3)
    """
    return adjust_contrast(images, _factors(images, key, factor), clip=clip)


@names_errors
def saturation(
    images: Array, *, key: Key | None, factor: tuple[float, float], clip: tuple[float, float] | None = None
) -> Array:
    """Change the saturation of each image by a factor drawn uniformly; see `adjust_saturation`.

    Args:
        images: `[batch, height, width, channels]`, floating point, with 1 channel or 3 (red, green, blue).
        key: a typed PRNG key.
        factor: (low, high).
        clip: bounds (low, high) to clip to; None does not clip.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, if the range is empty or negative, or if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> import jax
        >>> images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 3))
        >>> saturation(images, key=jax.random.key(1), factor=(0.5, 1.5), clip=(0.0, 1.0)).shape
        (2, 8, 8, 3)
    """
    return adjust_saturation(images, _factors(images, key, factor), clip=clip)


def _factors(images: Array, key: Key | None, factor: tuple[float, float]) -> Array:
    check_images(images)
    check_range("factor", factor, least=0.0)
    return uniform(image_keys(images, key), factor)


def _gray(images: Array) -> Array:
    """The gray version `[batch, height, width, 1]`, in at least float32."""
    wide = images.astype(compute_dtype(images))
    if images.shape[-1] == 1:
        return wide
    if images.shape[-1] != 3:
        raise ValueError(f"images must have 1 channel or 3 (red, green, blue), got {list(images.shape)}")
    return sum((weight * wide[..., i : i + 1] for i, weight in enumerate(LUMA)), start=jnp.zeros((), wide.dtype))


def _blend(images: Array, other: Array, factors: Array, clip: tuple[float, float] | None) -> Array:
    factors = factors[:, None, None, None]
    mixed = factors * images.astype(factors.dtype) + (1 - factors) * other
    return clipped(mixed, clip).astype(images.dtype)
