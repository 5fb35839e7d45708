"""Losses of segmentation, beside the cross-entropy of each pixel: the overlap of what is found and what is there."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxnets.label_check import Allowed, note_labels
from jaxnets.labels import are_probabilities, check_labels, class_labels, class_logits, floating, like, mark_invalid
from jaxnets.metrics.metric import example_weights
from jaxnets.types import Array, ArrayLike


def dice(logits: ArrayLike, labels: ArrayLike, *, mask: ArrayLike | None = None, smooth: float = 1.0) -> Array:
    """Soft Dice loss of several classes: $1 - mean_k (2 sum p_k y_k + smooth) / (sum p_k + sum y_k + smooth)$.

    The sums are over the pixels of an image, $p = softmax(logits)$, and y is 1 for the class of the pixel, else 0.
    Small classes count as much as large ones. `jaxnets.metrics.dice` is the score of the classes that are predicted.

    Args:
        logits: `[batch, *spatial, classes]`, floating point: what comes before the softmax.
        labels: integers `[batch, *spatial]` from 0 to classes - 1, or probabilities `[batch, *spatial, classes]`.
            Others make the loss of their image NaN.
        mask: booleans or weights `[batch, *spatial]`, 0 for pixels that do not count, whatever their labels are:
            `labels != 255`. By default all count.
        smooth: added to numerator and denominator, not negative; it makes the loss of a class that is neither there nor
            found 0.

    Returns:
        `[batch]`, one number from 0 to 1 an image.

    Raises:
        ValueError: if the shapes do not fit, there is one class only, `smooth` is negative, or labels without a
            mask that are not traced count from 1.
        TypeError: if the logits are not floating point, or the labels not as described.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = dice(jnp.zeros((1, 4, 2)), jnp.array([[0, 0, 0, 1]]), smooth=0.0)
        >>> print(f"{loss[0]:.4f}")  # 1 - (3/5 + 1/3) / 2
        0.5333

    Reference:
        Milletari, Navab and Ahmadi, V-Net: fully convolutional neural networks for volumetric medical image
        segmentation, 2016; Sudre et al., Generalised Dice overlap as a deep learning loss function for highly
        unbalanced segmentations, 2017.

    Warning:
        V-Net squares the terms of the denominator. Others leave out the background, take the sums over the whole batch,
        or weigh the classes by their size; each gives other numbers.
    """
    logits = class_logits("dice", logits)
    if mask is None:  # else labels that are masked may be anything, such as 255
        check_labels("dice", labels, logits.shape[-1])
    answers = class_labels("dice", labels, logits)
    weights = _pixel_weights("dice", mask, logits.shape[:-1], logits, smooth)
    counts = weights[..., None] != 0
    if answers.ndim == logits.ndim:
        answers = jnp.where(counts, answers, jnp.zeros_like(answers).at[..., 0].set(1))
        valid = are_probabilities(answers)
    else:
        answers = jnp.where(weights != 0, answers, 0)
        valid = (answers >= 0) & (answers < logits.shape[-1])
        answers = jax.nn.one_hot(answers, logits.shape[-1], dtype=logits.dtype)
    probabilities = jax.nn.softmax(jnp.where(counts, logits, 0))
    losses = _one_minus_overlap(probabilities, answers, weights[..., None], smooth)
    return mark_invalid(jnp.mean(losses, axis=-1), jnp.all(valid, axis=tuple(range(1, valid.ndim))))


def binary_dice(logits: ArrayLike, labels: ArrayLike, *, mask: ArrayLike | None = None, smooth: float = 1.0) -> Array:
    """Soft Dice loss of yes-or-no pixels: $1 - (2 sum p y + smooth) / (sum p + sum y + smooth)$.

    $p = sigmoid(logit)$ is predicted.

    The sums are over the pixels of an image. Pixels of class 0 that are found to be so do not count as overlap, however
    many there are.

    Args:
        logits: `[batch, *spatial]`, floating point: what comes before the sigmoid.
        labels: `[batch, *spatial]`, 0 or 1 (or booleans), or probabilities in between. Others make the loss of their
            image NaN.
        mask: booleans or weights `[batch, *spatial]`, 0 for pixels that do not count.
        smooth: added to numerator and denominator, not negative; an image without pixels of class 1 needs it.

    Returns:
        `[batch]`, one number from 0 to 1 an image.

    Raises:
        ValueError: if the shapes do not fit, or `smooth` is negative.
        TypeError: if the logits are not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = binary_dice(jnp.zeros((1, 4)), jnp.array([[0, 0, 0, 1]]), smooth=0.0)
        >>> print(f"{loss[0]:.4f}")  # 1 - 1/3
        0.6667

    Reference:
        Milletari, Navab and Ahmadi, V-Net: fully convolutional neural networks for volumetric medical image
        segmentation, 2016.

    Warning:
        As for `dice`.
    """
    logits = floating("binary_dice", "logits", logits)
    if mask is None:
        note_labels(labels, Allowed("binary_dice", 0, 1, "share"))
    answers = like("binary_dice", "labels", labels, logits, "logits")
    weights = _pixel_weights("binary_dice", mask, logits.shape, logits, smooth)
    answers = jnp.where(weights != 0, answers, 0)
    losses = _one_minus_overlap(jax.nn.sigmoid(jnp.where(weights != 0, logits, 0)), answers, weights, smooth, classes=0)
    return mark_invalid(losses, jnp.all((answers >= 0) & (answers <= 1), axis=tuple(range(1, answers.ndim))))


def _pixel_weights(
    function: str, mask: ArrayLike | None, shape: tuple[int, ...], logits: Array, smooth: float
) -> Array:
    if not smooth >= 0:
        raise ValueError(f"{function}: smooth must not be negative, got {smooth}")
    if len(shape) < 2:
        axes = "[batch, *spatial]" if shape == logits.shape else "[batch, *spatial, classes]"
        raise ValueError(f"{function}: logits must be {axes}, got {list(logits.shape)}")
    if mask is not None and jnp.shape(mask) != shape:
        raise ValueError(f"{function}: mask must be {list(shape)}, one for each pixel, got {list(jnp.shape(mask))}")
    return example_weights(function, mask, shape, logits.dtype)


def _one_minus_overlap(found: Array, there: Array, weights: Array, smooth: float, classes: int = 1) -> Array:
    """1 - the Dice overlap of each image, `[batch]`, and of each class if the last axis is that of `classes`."""
    pixels = tuple(range(1, found.ndim - classes))
    overlap = jnp.sum(weights * found * there, axis=pixels)
    added = jnp.asarray(smooth, overlap.dtype)
    return 1 - (2 * overlap + added) / (jnp.sum(weights * (found + there), axis=pixels) + added)
