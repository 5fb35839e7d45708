"""Scores of segmentation: how far the regions that are found and those that are there overlap."""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from jaxnets.labels import class_indices, class_logits, floating, like
from jaxnets.metrics.confusion import ConfusionMatrix, score_matrix
from jaxnets.metrics.means import Mean, accuracy
from jaxnets.metrics.metric import example_weights
from jaxnets.types import Array, ArrayLike

RegionAverage: TypeAlias = Literal["binary", "macro"] | None
"""How the scores of the classes become one number; see `iou`."""


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=("matrix",), meta_fields=("score", "average", "ignored")
)
@dataclasses.dataclass(frozen=True)
class OverlapScore:
    """Intersection over union or Dice score as a metric.

    Attributes:
        matrix: the confusion matrix of the pixels that count.
        score: which score.
        average: how the classes' scores are averaged.
        ignored: the label of pixels that do not count.
    """

    matrix: ConfusionMatrix
    score: Literal["iou", "dice"]
    average: RegionAverage
    ignored: int | None

    def merge(self, other: OverlapScore) -> OverlapScore:
        """Return the score of the pixels of both."""
        return dataclasses.replace(self, matrix=self.matrix.merge(other.matrix))

    def reduce(self) -> OverlapScore:
        """Return the score of all pixels, for arrays stacked along a first axis."""
        return dataclasses.replace(self, matrix=self.matrix.reduce())

    def compute(self) -> Array:
        """Return the score."""
        matrix = self.matrix.compute()
        right = jnp.diagonal(matrix, axis1=-2, axis2=-1)
        both = jnp.sum(matrix, axis=-2) + jnp.sum(matrix, axis=-1)
        over, under = (right, both - right) if self.score == "iou" else (2 * right, both)
        scores = jnp.where(under == 0, 0, over / jnp.where(under == 0, 1, under))
        counts = jnp.arange(matrix.shape[-1]) != (-1 if self.ignored is None else self.ignored)
        any_pixel = jnp.sum(both, axis=-1, keepdims=True) != 0
        if self.average != "macro":
            scores = jnp.where(counts & any_pixel, scores, jnp.nan)
            return scores if self.average is None else scores[..., 1]
        occurs = (counts & (under != 0)).astype(scores.dtype)
        return jnp.sum(scores * occurs, axis=-1) / jnp.sum(occurs, axis=-1)


def iou(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    average: RegionAverage = "macro",
    ignored: int | None = None,
    threshold: float = 0.0,
    weights: ArrayLike | None = None,
) -> OverlapScore:
    """Intersection over union (Jaccard index) of the pixels found and labeled as a class: $right / (found or labeled)$.

    The pixels of all images are counted together, as in the PASCAL VOC challenge. `"macro"` is the mean IoU over the
    classes that occur among predictions or labels; None returns the score of each class, `[classes]`, 0 for one that
    does not occur; `"binary"` is the score of class 1 with one logit per pixel.

    Args:
        logits: `[..., classes]`, floating point; for `"binary"` `[...]`, with class 1 where logit > threshold.
        labels: integers `[...]`, or probabilities `[..., classes]`; for `"binary"` 0 and 1, or booleans.
        average: how the classes' scores are averaged.
        ignored: pixels with this label do not count, such as 255 for void, or the number of a class. Such a class has
            no part in the mean, and NaN as its own score; to predict it elsewhere is a mistake as any other.
        threshold: for `"binary"`; 0 for logits, which is the probability 1/2; write 0.5 for probabilities.
        weights: `[...]`, by default all 1.

    Returns:
        A streamable `OverlapScore`, NaN if a logit is, or without any pixel that counts.

    Raises:
        ValueError: if the shapes do not fit, `average` is unknown, or a threshold is given without `"binary"`.
        TypeError: if the logits are not floating point, or the labels not as described.

    Example:
        >>> logits = jax.nn.one_hot(jnp.array([0, 0, 1, 1]), 2)  # of class 0: 1 right of 3, of class 1: 1 right of 3
        >>> iou(logits, jnp.array([0, 1, 1, 0])).compute()
        Array(0.33333334, dtype=float32)
        >>> iou(logits, jnp.array([0, 255, 1, 0]), average=None, ignored=255).compute()
        Array([0.5, 0.5], dtype=float32)

    Reference:
        Jaccard, Étude comparative de la distribution florale, 1901; Everingham et al., The PASCAL visual object classes
        challenge, 2010.

    Warning:
        Others compute the score of each image and take the mean, which weighs images equally and depends on what they
        do with classes an image lacks. scikit-learn's `jaccard_score` ignores no pixels, only classes (`labels=`).
    """
    return _overlap("iou", logits, labels, average, ignored, threshold, weights)


def dice(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    average: RegionAverage = "macro",
    ignored: int | None = None,
    threshold: float = 0.0,
    weights: ArrayLike | None = None,
) -> OverlapScore:
    """Dice score of the pixels found and labeled as a class: $2 right / (found + labeled)$, which is their F1.

    With the intersection over union J it is 2 J / (1 + J) for each class, not for their mean. Arguments, result and
    errors are those of `iou`; without `ignored` it is `f1`. `jaxnets.losses.dice` is the loss.

    Example:
        >>> logits = jax.nn.one_hot(jnp.array([0, 0, 1, 1]), 2)
        >>> dice(logits, jnp.array([0, 1, 1, 0])).compute()
        Array(0.5, dtype=float32)

    Reference:
        Dice, Measures of the amount of ecologic association between species, 1945.

    Warning:
        Challenges of medical images take the mean of the scores of single images.
    """
    return _overlap("dice", logits, labels, average, ignored, threshold, weights)


def pixel_accuracy(
    logits: ArrayLike, labels: ArrayLike, *, ignored: int | None = None, weights: ArrayLike | None = None
) -> Mean:
    """Share of pixels whose largest logit is that of their class. The mean over classes is `recall`.

    Args:
        logits: `[..., classes]`, floating point.
        labels: integers `[...]`, or probabilities `[..., classes]`.
        ignored: pixels with this label do not count, such as 255 for void.
        weights: `[...]`, by default all 1.

    Returns:
        A streamable `Mean`, NaN if a logit is.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if the logits are not floating point, or the labels not as described.

    Example:
        >>> logits = jax.nn.one_hot(jnp.array([0, 0, 1, 1]), 2)
        >>> pixel_accuracy(logits, jnp.array([0, 1, 1, 255]), ignored=255).compute()
        Array(0.6666667, dtype=float32)
    """
    scores = class_logits("pixel_accuracy", logits)
    classes = class_indices("pixel_accuracy", labels, scores)
    return accuracy(scores, classes, weights=_counted("pixel_accuracy", classes, scores, ignored, weights))


def _overlap(
    function: Literal["iou", "dice"],
    logits: ArrayLike,
    labels: ArrayLike,
    average: RegionAverage,
    ignored: int | None,
    threshold: float,
    weights: ArrayLike | None,
) -> OverlapScore:
    if average not in ("binary", "macro", None):
        raise ValueError(f"{function}: average must be 'binary', 'macro' or None, got {average!r}")
    if average == "binary":
        scores = floating(function, "logits", logits)
        answers = like(function, "labels", labels, scores, "logits")
    else:
        scores = class_logits(function, logits)
        answers = class_indices(function, labels, scores)
    counted = _counted(function, answers, scores, ignored, weights)
    return OverlapScore(
        score_matrix(function, scores, answers, average, threshold, counted), function, average, ignored
    )


def _counted(
    function: str, answers: Array, scores: Array, ignored: int | None, weights: ArrayLike | None
) -> Array | ArrayLike | None:
    """The weights, 0 where the label is the one that is ignored."""
    if ignored is None:
        return weights
    return jnp.where(answers == ignored, 0, example_weights(function, weights, answers.shape, scores.dtype))
