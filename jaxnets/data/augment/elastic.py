"""Elastic distortion: every pixel moves a little, neighbors in similar ways."""

from __future__ import annotations

import jax.numpy as jnp

from jaxnets.data.augment.affine import Method, sample_at
from jaxnets.data.augment.images import Fill, check_images, image_keys, per_image, uniform
from jaxnets.data.augment.noise import smooth
from jaxnets.layer import names_errors
from jaxnets.types import Array, Key


@names_errors
def displace(images: Array, displacements: Array, *, fill: Fill = 0.0, method: Method = "bilinear") -> Array:
    """Map images: the output at pixel p is the input at $p + d(p)$.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        displacements: d in pixels (down, right), `[height, width, 2]`, or `[batch, height, width, 2]`.
        fill: value outside the image: one number, or one per channel.
        method: `"bilinear"` or `"nearest"`.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: if shapes do not fit or the method is unknown.
        TypeError: if `images` are not floating point.

    Example:
        >>> images = jnp.array([1.0, 2.0, 3.0])[None, None, :, None]
        >>> import jax
        >>> jax.jit(displace)(images, jnp.tile(jnp.array([0.0, 0.5]), (1, 3, 1))).ravel()
        Array([1.5, 2.5, 1.5], dtype=float32)
    """
    check_images(images)
    _, height, width, _ = images.shape
    moves = per_image("displacements", displacements, images, (height, width, 2))
    rows = jnp.arange(height, dtype=moves.dtype)[None, :, None] + moves[..., 0]
    columns = jnp.arange(width, dtype=moves.dtype)[None, None, :] + moves[..., 1]
    return sample_at(images, rows, columns, fill=fill, method=method)


@names_errors
def elastic(
    images: Array,
    *,
    key: Key | None,
    alpha: float = 34.0,
    sigma: float = 4.0,
    fill: Fill = 0.0,
    method: Method = "bilinear",
) -> Array:
    """Distort each image by random smooth displacements.

    Displacements are drawn from $U(-1, 1)$ for each pixel and axis, smoothed with a Gaussian of standard deviation
    sigma, and multiplied by alpha. Their standard deviation is $alpha / (sigma sqrt(12 pi))$ pixels: 1.4 with the
    default values, which are the paper's for handwritten digits of 29 x 29 pixels.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        key: a typed PRNG key.
        alpha: the strength, in pixels before smoothing.
        sigma: the smoothness, in pixels, positive.
        fill: value outside the image: one number, or one per channel.
        method: `"bilinear"` or `"nearest"`.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, if sigma is not positive, or if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> import jax
        >>> images = jax.random.uniform(jax.random.key(0), (2, 28, 28, 1))
        >>> jax.jit(elastic)(images, key=jax.random.key(1)).shape
        (2, 28, 28, 1)

    Reference:
        Simard, Steinkraus, Platt: Best Practices for Convolutional Neural Networks Applied to Visual Document
        Analysis, 2003.
    """
    check_images(images)
    keys = image_keys(images, key)
    return displace(images, displacement_fields(keys, images.shape[1:3], alpha, sigma), fill=fill, method=method)


def displacement_fields(keys: Key, size: tuple[int, ...], alpha: float, sigma: float) -> Array:
    """Draw the displacements of `elastic` with each image's key: float32 `[batch, *size, 2]`."""
    if not sigma > 0:
        raise ValueError(f"sigma must be positive, got {sigma}")
    noise = uniform(keys, (-1.0, 1.0), (*size, 2))
    sigmas = jnp.full(noise.shape[0], sigma, jnp.float32)
    return alpha * smooth(noise, sigmas, radius=int(4 * sigma + 0.5))
