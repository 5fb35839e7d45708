"""Gaussian noise and Gaussian blur."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.data.augment.images import check_images, check_range, clipped, image_keys, per_image, uniform
from jaxnets.layer import names_errors
from jaxnets.types import Array, ArrayLike, Key


@names_errors
def gaussian_noise(
    images: Array, *, key: Key | None, deviation: float | Array, clip: tuple[float, float] | None = None
) -> Array:
    """Add noise to every pixel and channel: $y = x + s N(0, 1)$.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        key: a typed PRNG key.
        deviation: the standard deviation s: one number, or `[batch]`.
        clip: bounds (low, high) to clip to; None does not clip.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, or if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> noisy = gaussian_noise(jnp.zeros((1, 100, 100, 1)), key=jax.random.key(0), deviation=0.1)
        >>> round(float(noisy.std()), 2)
        0.1

    Warning:
        torchvision's `gaussian_noise` clips to [0, 1] by default, which is `clip=(0.0, 1.0)`.
    """
    check_images(images)
    if isinstance(deviation, int | float) and deviation < 0:
        raise ValueError(f"deviation must be at least 0, got {deviation}")
    deviations = per_image("deviation", deviation, images)[:, None, None, None]
    keys = image_keys(images, key)
    noise = jax.vmap(lambda k: jax.random.normal(k, images.shape[1:], jnp.float32))(keys)
    noisy = images.astype(deviations.dtype) + deviations * noise.astype(deviations.dtype)
    return clipped(noisy, clip).astype(images.dtype)


@names_errors
def blur(images: Array, sigma: ArrayLike, *, radius: int | None = None) -> Array:
    """Smooth with a Gaussian: the mean of the surrounding pixels, weighted with $exp(-distance^2 / (2 sigma^2))$.

    At its edges the image is extended by reflection, without repeating the outermost pixels.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        sigma: the Gaussian's standard deviation in pixels: one number, or `[batch]`. 0 does not change the image.
        radius: pixels further away than this along an axis do not count; by default 4 sigma. Required if sigma is an
            array, because the radius must be known when the function is compiled.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: if shapes do not fit, or the radius is missing or negative.
        TypeError: if `images` are not floating point.

    Example:
        >>> images = jnp.zeros((1, 5, 5, 1)).at[0, 2, 2, 0].set(1.0)
        >>> [round(value, 3) for value in blur(images, 0.5)[0, 1:4, 2, 0].tolist()]
        [0.084, 0.619, 0.084]

    Warning:
        `scipy.ndimage.gaussian_filter` calls these edges mode `"mirror"`. torchvision takes `kernel_size`,
        2 radius + 1, and derives sigma from it if none is given.
    """
    check_images(images)
    sigma = sigma.item() if isinstance(sigma, np.generic) else sigma
    if radius is None and not isinstance(sigma, int | float):
        raise ValueError("sigma is an array; pass radius=int(4 * largest_sigma + 0.5)")
    reach = int(4 * float(sigma) + 0.5) if radius is None else radius  # type: ignore[arg-type]  # a number, see above
    if reach < 0 or (isinstance(sigma, int | float) and sigma < 0):
        raise ValueError(f"sigma and radius must be at least 0, got sigma {sigma} and {radius=}")
    sigmas = per_image("sigma", sigma, images)
    return smooth(images.astype(sigmas.dtype), sigmas, reach).astype(images.dtype)


def smooth(x: Array, sigma: Array, radius: int) -> Array:
    """Smooth `[batch, height, width, channels]` with a Gaussian of `sigma` `[batch]` along both axes.

    Along an axis this is a product with a matrix that includes the reflection at the edges: products are faster than
    many short sums.
    """
    down, across = (_smoothing_matrices(sigma, radius, x.shape[axis]) for axis in (1, 2))
    highest = jax.lax.Precision.HIGHEST
    wide = x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])
    rows = jnp.matmul(down, wide, precision=highest).reshape(x.shape)
    return jnp.einsum("bij,bhjc->bhic", across, rows, precision=highest)


def _smoothing_matrices(sigma: Array, radius: int, size: int) -> Array:
    """The matrices `[batch, size, size]` that smooth along an axis of `size` pixels."""
    distance = jnp.arange(-radius, radius + 1, dtype=sigma.dtype)
    # Below 0.01 pixels all weights but the central one are 0 in every floating-point format; this avoids 0 / 0.
    weights = jnp.exp(-((distance[None] / jnp.maximum(sigma, 0.01)[:, None]) ** 2) / 2)
    weights = weights / jnp.sum(weights, axis=1, keepdims=True)
    padded = np.pad(np.arange(size), radius, mode="reflect")  # the source pixel of each position of the padded axis
    sources = np.stack([padded[i : i + 2 * radius + 1] for i in range(size)])
    spread = jnp.broadcast_to(weights[:, None], (weights.shape[0], *sources.shape))
    zeros = jnp.zeros((weights.shape[0], size, size), weights.dtype)
    return zeros.at[:, np.arange(size)[:, None], sources].add(spread)


@names_errors
def gaussian_blur(
    images: Array, *, key: Key | None, sigma: tuple[float, float] = (0.1, 2.0), radius: int | None = None
) -> Array:
    """Smooth each image with a Gaussian whose standard deviation is drawn uniformly; see `blur`.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        key: a typed PRNG key.
        sigma: (low, high), in pixels.
        radius: see `blur`; by default 4 times the largest sigma.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `images`.

    Raises:
        ValueError: without a key, if the range is empty or negative, or if shapes do not fit.
        TypeError: if `images` are not floating point.

    Example:
        >>> images = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3))
        >>> bool(gaussian_blur(images, key=jax.random.key(1), sigma=(1.0, 2.0)).std() < images.std())
        True

    Reference:
        Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual Representations, 2020.
    """
    check_images(images)
    check_range("sigma", sigma, least=0.0)
    sigmas = uniform(image_keys(images, key), sigma)
    return blur(images, sigmas, radius=int(4 * sigma[1] + 0.5) if radius is None else radius)
