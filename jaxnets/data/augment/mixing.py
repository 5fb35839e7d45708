"""Mixup and CutMix: combine two images and their labels."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.data.augment.images import Values, check_images, image_keys, integers, per_image, subkeys
from jaxnets.data.augment.occlusion import box_mask
from jaxnets.layer import names_errors
from jaxnets.nn.check import compute_dtype, require_key
from jaxnets.random import subkey
from jaxnets.types import Array, ArrayLike, Key


class Mixed(NamedTuple):
    """A mixed batch.

    Attributes:
        images: `[batch, height, width, channels]`.
        labels: `[batch, classes]`, probabilities.
    """

    images: Array
    labels: Array


@names_errors
def mix(images: Array, labels: Array, partners: Array, weights: ArrayLike) -> Mixed:
    """Average each image and its label with those of a partner: $w x + (1 - w) x[partner]$.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        labels: `[batch, classes]`, floating point: probabilities, such as one-hot labels.
        partners: the index in the batch of each image's partner, integers `[batch]`.
        weights: of the image itself: one number, or `[batch]`.

    Returns:
        Images and labels with unchanged shapes and dtypes.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if images or labels are not floating point.

    Example:
        >>> images = jnp.array([0.0, 1.0]).reshape(2, 1, 1, 1)
        >>> mix(images, jnp.eye(2), jnp.array([1, 0]), 0.75).labels
        Array([[0.75, 0.25],
               [0.25, 0.75]], dtype=float32)
    """
    _check(images, labels)
    own = per_image("weights", weights, images)
    return Mixed(
        _average(images, jnp.take(images, partners, axis=0), own),
        _average(labels, jnp.take(labels, partners, axis=0), own),
    )


@names_errors
def mixup(images: Array, labels: Array, *, key: Key | None, alpha: float = 0.2) -> Mixed:
    """Average each image and its label with those of another, with a weight drawn from Beta(alpha, alpha).

    The partners are a random permutation of the batch, so every image is a partner once.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        labels: `[batch, classes]`, floating point: probabilities, such as one-hot labels.
        key: a typed PRNG key.
        alpha: positive; small values give weights near 0 or 1.

    Returns:
        Images and labels with unchanged shapes and dtypes.

    Raises:
        ValueError: without a key, if alpha is not positive, or if shapes do not fit.
        TypeError: if images or labels are not floating point.

    Example:
        >>> images, labels = jnp.ones((4, 8, 8, 1)), jax.nn.one_hot(jnp.array([0, 1, 2, 1]), 3)
        >>> mixed = jax.jit(mixup)(images, labels, key=jax.random.key(0))
        >>> mixed.labels.sum(axis=1)
        Array([1., 1., 1., 1.], dtype=float32)

    Reference:
        Zhang, Cisse, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization, 2018.

    Warning:
        The paper's program and torchvision draw one weight for the whole batch; here each image has its own.
    """
    _check(images, labels)
    partners, weights = _draw(images, key, alpha)
    return mix(images, labels, partners, weights)


@names_errors
def paste(images: Array, labels: Array, partners: Array, boxes: Values) -> Mixed:
    """Paste a box of each image's partner, and average the labels by their shares of the pixels.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        labels: `[batch, classes]`, floating point: probabilities, such as one-hot labels.
        partners: the index in the batch of each image's partner, integers `[batch]`.
        boxes: (top, left, bottom, right) in pixels, the last two exclusive, integers `[4]`, or `[batch, 4]`; parts
            outside the image are ignored.

    Returns:
        Images and labels with unchanged shapes and dtypes.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if images or labels are not floating point.

    Example:
        >>> images = jnp.stack([jnp.zeros((2, 2, 1)), jnp.ones((2, 2, 1))])
        >>> paste(images, jnp.eye(2), jnp.array([1, 0]), (0, 0, 1, 1)).labels
        Array([[0.75, 0.25],
               [0.25, 0.75]], dtype=float32)
    """
    _check(images, labels)
    corners = per_image("boxes", boxes, images, (4,))
    is_partner = box_mask(corners, *images.shape[1:3])
    own = jnp.mean(~is_partner, axis=(1, 2, 3), dtype=compute_dtype(images))
    return Mixed(
        jnp.where(is_partner, jnp.take(images, partners, axis=0), images),
        _average(labels, jnp.take(labels, partners, axis=0), own),
    )


@names_errors
def cutmix(images: Array, labels: Array, *, key: Key | None, alpha: float = 1.0) -> Mixed:
    """Paste a random box of another image into each, and average the labels by the number of pixels.

    The box covers 1 - w of the image, with w drawn from Beta(alpha, alpha), and has its proportions. Its center is a
    random pixel, and parts outside the image are cut off. The labels' weights are the shares of the pixels in the
    result.

    Args:
        images: `[batch, height, width, channels]`, floating point.
        labels: `[batch, classes]`, floating point: probabilities, such as one-hot labels.
        key: a typed PRNG key.
        alpha: positive; 1 makes all shares equally likely.

    Returns:
        Images and labels with unchanged shapes and dtypes.

    Raises:
        ValueError: without a key, if alpha is not positive, or if shapes do not fit.
        TypeError: if images or labels are not floating point.

    Example:
        >>> images, labels = jnp.ones((4, 8, 8, 1)), jax.nn.one_hot(jnp.array([0, 1, 2, 1]), 3)
        >>> mixed = jax.jit(cutmix)(images, labels, key=jax.random.key(0))
        >>> mixed.labels.sum(axis=1)
        Array([1., 1., 1., 1.], dtype=float32)

    Reference:
        Yun, Han, Oh, Chun, Choe, Yoo: CutMix: Regularization Strategy to Train Strong Classifiers with Localizable
        Features, 2019.
    """
    _check(images, labels)
    partners, weights = _draw(images, key, alpha)
    _, height, width, _ = images.shape
    keys = image_keys(images, key)
    side = jnp.sqrt(1 - weights)
    half_height, half_width = ((side * size / 2).astype(jnp.int32) for size in (height, width))
    row, column = integers(subkeys(keys, "row"), 0, height - 1), integers(subkeys(keys, "column"), 0, width - 1)
    corners = [row - half_height, column - half_width, row + half_height, column + half_width]
    return paste(images, labels, partners, jnp.stack(corners, axis=-1))


def _check(images: Array, labels: Array) -> None:
    check_images(images)
    if not hasattr(labels, "dtype") or not jnp.issubdtype(labels.dtype, jnp.floating):
        raise TypeError(
            f"labels must be probabilities, floating point [batch, classes], got "
            f"{getattr(labels, 'dtype', type(labels).__name__)}; write jax.nn.one_hot(labels, classes)"
        )
    if labels.ndim != 2 or labels.shape[0] != images.shape[0]:
        raise ValueError(
            f"labels must be [{images.shape[0]}, classes] for images {list(images.shape)}, got {list(labels.shape)}"
        )


def _draw(images: Array, key: Key | None, alpha: float) -> tuple[Array, Array]:
    """The partners `[batch]`, one permutation for the batch, and each image's weight `[batch]`."""
    if not alpha > 0:
        raise ValueError(f"alpha must be positive, got {alpha}")
    shape = jnp.asarray(alpha, jnp.float32)
    partners = jax.random.permutation(subkey(require_key(key, "mixing"), "partners"), images.shape[0])
    keys = subkeys(image_keys(images, key), "weight")
    return partners, jax.vmap(lambda k: jax.random.beta(k, shape, shape, dtype=jnp.float32))(keys)


def _average(x: Array, other: Array, weights: Array) -> Array:
    """Return w x + (1 - w) other, computed in at least float32, with one weight for each example."""
    wide = compute_dtype(x)
    own = weights.astype(wide).reshape(-1, *[1] * (x.ndim - 1))
    return (own * x.astype(wide) + (1 - own) * other.astype(wide)).astype(x.dtype)
