"""How similar an image is to the one it should be: PSNR and SSIM."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxnets.labels import floating, like
from jaxnets.metrics.means import Mean, mean
from jaxnets.types import Array, ArrayLike

_RADIUS, _DEVIATION = 5, 1.5
"""Of the Gaussian window of SSIM, 11 pixels wide."""
_STABILIZERS = (0.01, 0.03)
"""K_1 and K_2 of Wang et al., which keep the quotient finite where images are black or flat."""


def psnr(predictions: ArrayLike, targets: ArrayLike, *, data_range: float, weights: ArrayLike | None = None) -> Mean:
    """Peak signal-to-noise ratio in decibels: $10 log10(range^2 / MSE)$, the mean over images.

    Args:
        predictions: `[batch, ...]`, floating point, such as `[batch, height, width, channels]`.
        targets: the same shape, real numbers.
        data_range: the difference of the largest and the smallest possible value: 1 for images from 0 to 1, 255 for
            bytes, 2 for images from -1 to 1.
        weights: `[batch]`, by default all 1.

    Returns:
        A streamable `Mean`, infinite if the images of a pair are equal. Gradients flow through it.

    Raises:
        ValueError: if the shapes differ or `data_range` is not positive.
        TypeError: if the predictions are not floating point.

    Example:
        >>> targets = jnp.zeros((1, 8, 8, 1))
        >>> print(f"{psnr(targets + 0.1, targets, data_range=1.0).compute():.2f}")
        20.00

    Warning:
        Others take the logarithm of the mean squared error of all images together, which is less or equal, compute it
        on the luminance only, or leave out a margin.
    """
    predictions, targets = _pair("psnr", predictions, targets, data_range, weights, axes=2)
    errors = jnp.mean(jnp.square(predictions - targets), axis=tuple(range(1, targets.ndim)))
    return mean(20 * math.log10(data_range) - 10 * jnp.log10(errors), weights=weights)


def ssim(predictions: ArrayLike, targets: ArrayLike, *, data_range: float, weights: ArrayLike | None = None) -> Mean:
    """Structural similarity: the mean over positions, channels and images of how alike x and y are under a window.

    It is $(2 m_x m_y + C_1) (2 c_xy + C_2) / ((m_x^2 + m_y^2 + C_1) (v_x + v_y + C_2))$ with the means m, variances v
    and covariance c under a Gaussian window of 11 x 11 pixels and standard deviation 1.5, $C_1 = (0.01 range)^2$ and
    $C_2 = (0.03 range)^2$. Only positions with the whole window inside of the image count.

    Args:
        predictions: `[batch, height, width, channels]`, floating point, at least 11 pixels high and wide.
        targets: the same shape, real numbers.
        data_range: the difference of the largest and the smallest possible value, as for `psnr`.
        weights: `[batch]`, by default all 1.

    Returns:
        A streamable `Mean`, 1 for equal images, at least -1. Gradients flow through it: `1 - ssim(...).compute()` is a
        loss.

    Raises:
        ValueError: if the shapes differ, the images are too small, or `data_range` is not positive.
        TypeError: if the predictions are not floating point.

    Example:
        >>> image = jax.random.uniform(jax.random.key(0), (1, 16, 16, 1))
        >>> print(f"{ssim(image, image, data_range=1.0).compute():.3f}")
        1.000

    Reference:
        Wang, Bovik, Sheikh and Simoncelli, Image quality assessment: from error visibility to structural similarity,
        2004.

    Warning:
        scikit-image has by default a uniform window of 7 pixels and unbiased variances; with `gaussian_weights=True,
        sigma=1.5, use_sample_covariance=False` it is this. The authors' program takes gray images, makes large ones
        smaller first, and others pad the margin.
    """
    x, y = _pair("ssim", predictions, targets, data_range, weights, axes=4)
    if x.ndim != 4 or min(x.shape[1:3]) < 2 * _RADIUS + 1:
        raise ValueError(
            "ssim: images must be [batch, height, width, channels], 11 pixels high and wide or more, "
            f"got {list(x.shape)}"
        )
    c_1, c_2 = (float(stabilizer * data_range) ** 2 for stabilizer in _STABILIZERS)
    # Variances are sums of squares minus squares of means: near 0, those keep their digits.
    center = (jnp.mean(x, axis=(1, 2), keepdims=True) + jnp.mean(y, axis=(1, 2), keepdims=True)) / 2
    center = jax.lax.stop_gradient(center)
    u, v = x - center, y - center
    mean_u, mean_v = _blur(u), _blur(v)
    mean_x, mean_y = mean_u + center, mean_v + center
    variances = _blur(u * u + v * v) - mean_u * mean_u - mean_v * mean_v
    covariance = _blur(u * v) - mean_u * mean_v
    luminance = (2 * mean_x * mean_y + c_1) / (mean_x * mean_x + mean_y * mean_y + c_1)
    similarity = luminance * (2 * covariance + c_2) / (variances + c_2)
    return mean(jnp.mean(similarity, axis=(1, 2, 3)), weights=weights)


@jax.jit  # as one program: outside of compiled ones, each of its many operations would be compiled by itself
def _blur(x: Array) -> Array:
    """Weighted means under the window, `[batch, height - 10, width - 10, channels]`: first of columns, then of rows."""
    taps = [math.exp(-((offset / _DEVIATION) ** 2) / 2) for offset in range(-_RADIUS, _RADIUS + 1)]
    for axis in (1, 2):
        size = x.shape[axis] - 2 * _RADIUS
        parts = [
            tap / sum(taps) * jax.lax.slice_in_dim(x, start, start + size, axis=axis) for start, tap in enumerate(taps)
        ]
        x = sum(parts[1:], parts[0])
    return x


def _pair(
    function: str, predictions: ArrayLike, targets: ArrayLike, data_range: float, weights: ArrayLike | None, axes: int
) -> tuple[Array, Array]:
    """Both as arrays; those of weight 0 are replaced, or what they hold would become NaN in the gradient."""
    if not data_range > 0:
        raise ValueError(f"{function}: data_range must be positive, got {data_range}")
    x = floating(function, "predictions", predictions)
    if x.ndim < axes and axes == 2:
        raise ValueError(f"{function}: predictions must be [batch, ...], got {list(x.shape)}; write predictions[None]")
    y = like(function, "targets", targets, x, "predictions")
    if weights is None or jnp.shape(weights) != x.shape[:1]:
        return x, y
    counts = (jnp.asarray(weights) != 0).reshape((-1,) + (1,) * (x.ndim - 1))
    return jnp.where(counts, x, 1), jnp.where(counts, y, 0)
