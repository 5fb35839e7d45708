"""The confusion matrix, precision, recall and F1."""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jaxnets.labels import (
    as_int32,
    class_indices,
    class_logits,
    floating,
    have_nan,
    labels_array,
    like,
    mark_invalid,
)
from jaxnets.metrics.metric import Sum, example_weights, to_sum
from jaxnets.types import Array, ArrayLike

Average: TypeAlias = Literal["binary", "macro", "micro", "weighted"] | None
"""How the scores of the classes become one number; see `precision`."""


_BLOCK = 2**20
"""Examples that are counted in one array: float32 counts to 2^24, a `Sum` of several arrays to 2^48."""


class ConfusionMatrix(NamedTuple):
    """A confusion matrix: how often each class was predicted as each class.

    Attributes:
        counts: `[classes, classes]`: entry (i, j) is the weight of the examples of class i that were predicted as class
            j.
    """

    counts: Sum

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Return the matrix of the examples of both."""
        return ConfusionMatrix(self.counts.merge(other.counts))

    def reduce(self) -> ConfusionMatrix:
        """Return the matrix of all examples, for arrays stacked along a first axis."""
        return ConfusionMatrix(self.counts.reduce())

    def compute(self) -> Array:
        """Return the matrix `[classes, classes]`, labels in rows and predictions in columns."""
        return self.counts.value()

    def precision(self, average: Average = "macro") -> Array:
        """Return the precision; see `jaxnets.metrics.precision`."""
        right, predicted, _ = self._sums()
        return self._averaged(right, predicted, average)

    def recall(self, average: Average = "macro") -> Array:
        """Return the recall; see `jaxnets.metrics.recall`."""
        right, _, labeled = self._sums()
        return self._averaged(right, labeled, average)

    def f1(self, average: Average = "macro") -> Array:
        """Return the F1 score; see `jaxnets.metrics.f1`."""
        right, predicted, labeled = self._sums()
        return self._averaged(2 * right, predicted + labeled, average)

    def _sums(self) -> tuple[Array, Array, Array]:
        """For each class, the weights of correct predictions, all predictions and all labels: `[..., classes]` each."""
        matrix = self.compute()
        return jnp.diagonal(matrix, axis1=-2, axis2=-1), jnp.sum(matrix, axis=-2), jnp.sum(matrix, axis=-1)

    def _averaged(self, numerator: Array, denominator: Array, average: Average) -> Array:
        scores = _ratio(numerator, denominator)
        _, predicted, labeled = self._sums()
        if average is None:
            return scores
        if average == "binary":
            if scores.shape[-1] != 2:
                raise ValueError(f"average='binary' needs two classes, got {scores.shape[-1]}; choose 'macro'")
            return scores[..., 1]
        if average == "macro":
            occurs = (predicted + labeled != 0).astype(scores.dtype)
            return jnp.sum(scores * occurs, axis=-1) / jnp.sum(occurs, axis=-1)
        if average == "micro":
            return _ratio(jnp.sum(numerator, axis=-1), jnp.sum(denominator, axis=-1))
        if average == "weighted":
            return jnp.sum(scores * labeled, axis=-1) / jnp.sum(labeled, axis=-1)
        raise ValueError(f"average must be 'binary', 'macro', 'micro', 'weighted' or None, got {average!r}")


def _ratio(numerator: Array, denominator: Array) -> Array:
    """The quotient, 0 where the denominator is 0, and NaN where it is NaN."""
    return jnp.where(denominator == 0, 0, numerator / jnp.where(denominator == 0, 1, denominator))


@functools.partial(jax.tree_util.register_dataclass, data_fields=("matrix",), meta_fields=("score", "average"))
@dataclasses.dataclass(frozen=True)
class ClassScore:
    """Precision, recall or F1 as a metric.

    Attributes:
        matrix: the confusion matrix.
        score: which score.
        average: how the classes' scores are averaged.
    """

    matrix: ConfusionMatrix
    score: Literal["precision", "recall", "f1"]
    average: Average

    def merge(self, other: ClassScore) -> ClassScore:
        """Return the score of the examples of both."""
        return dataclasses.replace(self, matrix=self.matrix.merge(other.matrix))

    def reduce(self) -> ClassScore:
        """Return the score of all examples, for arrays stacked along a first axis."""
        return dataclasses.replace(self, matrix=self.matrix.reduce())

    def compute(self) -> Array:
        """Return the score."""
        scores = {"precision": self.matrix.precision, "recall": self.matrix.recall, "f1": self.matrix.f1}
        return scores[self.score](self.average)


def confusion_matrix(
    predictions: ArrayLike, labels: ArrayLike, *, classes: int, weights: ArrayLike | None = None
) -> ConfusionMatrix:
    """Count how often each class was predicted as each class.

    Args:
        predictions: integers `[...]` from 0 to classes - 1, such as `jnp.argmax(logits, axis=-1)`.
        labels: integers `[...]` from 0 to classes - 1.
        classes: the number of classes.
        weights: `[...]`, by default all 1.

    Returns:
        A streamable `ConfusionMatrix`, with methods `precision`, `recall` and `f1`. A class out of range makes all
        entries NaN.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if predictions or labels are not integers.

    Example:
        >>> matrix = confusion_matrix(jnp.array([0, 1, 1]), jnp.array([0, 0, 1]), classes=2)
        >>> matrix.compute()
        Array([[1., 1.],
               [0., 1.]], dtype=float32)
        >>> matrix.recall(average=None)
        Array([0.5, 1. ], dtype=float32)
    """
    predicted = labels_array("confusion_matrix", "predictions", predictions)
    labeled = labels_array("confusion_matrix", "labels", labels)
    for argument, array in (("predictions", predicted), ("labels", labeled)):
        if not jnp.issubdtype(array.dtype, jnp.integer):
            raise TypeError(
                f"confusion_matrix: {argument} must be integers, numbers of classes, got {array.dtype}; "
                "write jnp.argmax(logits, axis=-1) for logits, .astype(jnp.int32) for classes"
            )
    if predicted.shape != labeled.shape:
        raise ValueError(
            "confusion_matrix: predictions and labels must have the same shape, "
            f"got {list(predicted.shape)} and {list(labeled.shape)}"
        )
    dtype = jnp.result_type(float)
    weight = example_weights("confusion_matrix", weights, labeled.shape, dtype)
    predicted, labeled = as_int32(predicted), as_int32(labeled)
    in_range = (predicted >= 0) & (predicted < classes) & (labeled >= 0) & (labeled < classes)
    meaningless = jnp.any(~in_range & (weight != 0))
    cell = jnp.clip(labeled, 0, classes - 1) * classes + jnp.clip(predicted, 0, classes - 1)
    blocks = jnp.arange(cell.size) // _BLOCK
    counts = jnp.zeros((max(1, -(-cell.size // _BLOCK)), classes * classes), dtype)
    counts = counts.at[blocks, cell.reshape(-1)].add(weight.reshape(-1)).reshape(-1, classes, classes)
    return ConfusionMatrix(to_sum(mark_invalid(counts, ~meaningless)).reduce())


def precision(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    average: Average = "macro",
    threshold: float = 0.0,
    weights: ArrayLike | None = None,
) -> ClassScore:
    """Precision: the share of the examples predicted as a class that belong to it.

    0 for a class that is never predicted. The averages are scikit-learn's: `"macro"` is the mean over the classes that
    occur among predictions or labels, `"weighted"` weights them by their number of labels, `"micro"` counts all
    examples together (then precision, recall and F1 are the accuracy), None returns the score of each class,
    `[classes]`. `"binary"` is the score of class 1 with one logit per example.

    Args:
        logits: `[..., classes]`, floating point; for `"binary"` `[...]`, with class 1 where logit > threshold.
        labels: integers `[...]`, or probabilities `[..., classes]`; for `"binary"` 0 and 1, or booleans.
        average: how the classes' scores are averaged.
        threshold: for `"binary"`; 0 for logits, which is the probability 1/2; write 0.5 for probabilities.
        weights: `[...]`, by default all 1.

    Returns:
        A streamable `ClassScore`, NaN if a logit is.

    Raises:
        ValueError: if the shapes do not fit, `average` is unknown, or a threshold is given without `"binary"`.
        TypeError: if the logits are not floating point, or the labels not as described.

    Example:
        >>> logits = jnp.array([1.0, 1.0, 1.0, -1.0])
        >>> precision(logits, jnp.array([1, 1, 0, 1]), average="binary").compute()
        Array(0.6666667, dtype=float32)
    """
    return ClassScore(score_matrix("precision", logits, labels, average, threshold, weights), "precision", average)


def recall(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    average: Average = "macro",
    threshold: float = 0.0,
    weights: ArrayLike | None = None,
) -> ClassScore:
    """Recall: the share of the examples of a class that are predicted as it; 0 for a class without examples.

    Arguments, result and errors are those of `precision`.

    Example:
        >>> logits = jnp.array([1.0, 1.0, 1.0, -1.0])
        >>> recall(logits, jnp.array([1, 1, 0, 1]), average="binary").compute()
        Array(0.6666667, dtype=float32)
    """
    return ClassScore(score_matrix("recall", logits, labels, average, threshold, weights), "recall", average)


def f1(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    average: Average = "macro",
    threshold: float = 0.0,
    weights: ArrayLike | None = None,
) -> ClassScore:
    """F1 score: the harmonic mean of precision and recall, $2 right / (predicted + labeled)$, or 0.

    Arguments, result and errors are those of `precision`.

    Example:
        >>> logits = jnp.array([1.0, 1.0, 1.0, -1.0])
        >>> f1(logits, jnp.array([1, 1, 0, 0]), average="binary").compute()
        Array(0.8, dtype=float32)
    """
    return ClassScore(score_matrix("f1", logits, labels, average, threshold, weights), "f1", average)


def score_matrix(
    function: str,
    logits: ArrayLike,
    labels: ArrayLike,
    average: Average,
    threshold: float,
    weights: ArrayLike | None,
) -> ConfusionMatrix:
    """Return the matrix of the classes that logits predict; for `average="binary"` that of two classes."""
    if average not in ("binary", "macro", "micro", "weighted", None):
        raise ValueError(f"{function}: average must be 'binary', 'macro', 'micro', 'weighted' or None, got {average!r}")
    if average == "binary":
        scores = floating(function, "logits", logits)
        answers = like(function, "labels", labels, scores, "logits")
        classes = jnp.where((answers == 0) | (answers == 1), answers, -1).astype(jnp.int32)
        predicted = jnp.where(jnp.isnan(scores), -1, (scores > threshold).astype(jnp.int32))
        return confusion_matrix(predicted, classes, classes=2, weights=weights)
    if threshold != 0:
        raise ValueError(f"{function}: a threshold is only for average='binary', got {average!r}")
    scores = class_logits(function, logits)
    labeled = class_indices(function, labels, scores)
    predicted = jnp.where(have_nan(scores), -1, jnp.argmax(scores, axis=-1).astype(jnp.int32))
    return confusion_matrix(predicted, labeled, classes=scores.shape[-1], weights=weights)
