"""Metrics that are a mean over examples."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.labels import class_indices, class_logits, floating, have_nan, labels_array, like, mark_invalid, real
from jaxnets.metrics.metric import Sum, detached, example_weights, to_sum
from jaxnets.nn.check import compute_dtype
from jaxnets.types import Array, ArrayLike


class Mean(NamedTuple):
    """A weighted mean, NaN without examples.

    Attributes:
        parts: `[2, 2]`, the `Sum` of weight times value and that of the weights; one array, because each array adds
            about a microsecond to a compiled step.
    """

    parts: Array

    @classmethod
    def of(cls, total: Sum, weight: Sum) -> Mean:
        """Make a mean from its two sums."""
        return cls(jnp.stack([total.parts, weight.parts], axis=-2))

    @property
    def total(self) -> Sum:
        """The sum of weight times value."""
        return Sum(self.parts[..., 0, :])

    @property
    def weight(self) -> Sum:
        """The sum of the weights."""
        return Sum(self.parts[..., 1, :])

    def merge(self, other: Mean) -> Mean:
        """Return the mean of the values of both."""
        return Mean.of(self.total.merge(other.total), self.weight.merge(other.weight))

    def reduce(self) -> Mean:
        """Return the mean of all values, for arrays stacked along a first axis."""
        return Mean.of(self.total.reduce(), self.weight.reduce())

    def plus(self, number: ArrayLike) -> Mean:
        """Return the mean of the values plus a number, such as a penalty on the parameters of a loss.

        Example:
            >>> mean(jnp.array([1.0, 3.0])).plus(0.5).compute()
            Array(2.5, dtype=float32)
        """
        weight = self.weight
        added = weight.value() * jnp.asarray(number, self.parts.dtype)
        return Mean.of(self.total.merge(to_sum(added)), weight)

    def compute(self) -> Array:
        """Return the mean."""
        return self.total.value() / self.weight.value()


class Perplexity(NamedTuple):
    """The exponential of a mean.

    Attributes:
        losses: the mean cross-entropy.
    """

    losses: Mean

    def merge(self, other: Perplexity) -> Perplexity:
        """Return the perplexity of the examples of both."""
        return Perplexity(self.losses.merge(other.losses))

    def reduce(self) -> Perplexity:
        """Return the perplexity of all examples, for arrays stacked along a first axis."""
        return Perplexity(self.losses.reduce())

    def compute(self) -> Array:
        """Return the perplexity."""
        return jnp.exp(self.losses.compute())


def mean(values: ArrayLike, *, weights: ArrayLike | None = None) -> Mean:
    """Mean of values: $(sum_i w_i v_i) / (sum_i w_i)$.

    Gradients flow through it to the values, so that a loss may return it (see `jaxnets.training.Loss`). That of a value
    of weight 0 is 0; a loss whose derivative is NaN there, as for labels that are NaN, makes NaN of it, so replace such
    inputs first.

    Args:
        values: `[batch, ...]`, real numbers or booleans, such as losses. All entries of an example have its weight.
        weights: of the shape of the values or their first axes, `[batch]`; by default all 1.

    Returns:
        A streamable `Mean`. A batch is summed in at least float32; batches are added with twice that precision.

    Raises:
        ValueError: if the shape of the weights does not fit.
        TypeError: if the values are not real numbers.

    Example:
        >>> mean(jnp.array([1.0, 2.0, 6.0])).compute()
        Array(3., dtype=float32)
        >>> mean(jnp.array([1.0, 2.0, jnp.nan]), weights=jnp.array([1, 1, 0])).compute()
        Array(1.5, dtype=float32)
    """
    array = labels_array("mean", "values", values)
    dtype = compute_dtype(array) if jnp.issubdtype(array.dtype, jnp.floating) else jnp.float32
    array = real("mean", "values", array, dtype)
    if weights is None:
        return Mean.of(to_sum(jnp.sum(array)), to_sum(jnp.asarray(array.size, array.dtype)))
    shape = array.shape[: jnp.ndim(weights)]
    given = example_weights("mean", weights, shape, array.dtype)
    spread = jnp.broadcast_to(given.reshape((*shape, *(1,) * (array.ndim - len(shape)))), array.shape)
    total = jnp.sum(jnp.where(spread == 0, 0, spread * array))
    return Mean.of(to_sum(total), to_sum(jnp.sum(spread)))


def accuracy(logits: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> Mean:
    """Share of examples whose largest logit is that of their class; the first of equal logits counts.

    Args:
        logits: `[..., classes]`, floating point; or probabilities.
        labels: integers `[...]`, or probabilities `[..., classes]`, of which the largest counts.
        weights: `[...]`; for tokens `[batch, time]` the mask of those that are no padding.

    Returns:
        A streamable `Mean`, NaN if a logit is.

    Raises:
        ValueError: if the shapes do not fit, or there is only one class (see `binary_accuracy`).
        TypeError: if the logits are not floating point, or the labels not as described.

    Example:
        >>> accuracy(jnp.array([[0.0, 1.0], [0.0, 1.0]]), jnp.array([1, 0])).compute()
        Array(0.5, dtype=float32)
    """
    scores = class_logits("accuracy", logits)
    classes = class_indices("accuracy", labels, scores)
    right = (jnp.argmax(scores, axis=-1).astype(jnp.int32) == classes).astype(scores.dtype)
    valid = (classes >= 0) & (classes < scores.shape[-1]) & ~have_nan(scores)
    return mean(mark_invalid(right, valid), weights=weights)


def binary_accuracy(
    logits: ArrayLike, labels: ArrayLike, *, threshold: float = 0.0, weights: ArrayLike | None = None
) -> Mean:
    """Share of entries on the right side of the threshold: class 1 is predicted where logit > threshold.

    Args:
        logits: `[...]`, floating point, one per example.
        labels: `[...]`, 0 or 1, or booleans.
        threshold: 0 for logits, which is the probability 1/2; write 0.5 for probabilities.
        weights: `[...]`.

    Returns:
        A streamable `Mean`, NaN if a logit is.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if the logits are not floating point.

    Example:
        >>> binary_accuracy(jnp.array([-1.0, 2.0, 3.0, 4.0]), jnp.array([0, 1, 1, 0])).compute()
        Array(0.75, dtype=float32)
    """
    scores = floating("binary_accuracy", "logits", logits)
    answers = like("binary_accuracy", "labels", labels, scores, "logits")
    right = ((scores > threshold) == (answers == 1)).astype(scores.dtype)
    valid = ((answers == 0) | (answers == 1)) & ~jnp.isnan(scores)
    return mean(mark_invalid(right, valid), weights=weights)


def top_k_accuracy(logits: ArrayLike, labels: ArrayLike, *, k: int, weights: ArrayLike | None = None) -> Mean:
    """Share of examples whose class is among the k largest logits; the first of equal logits count.

    Args:
        logits: `[..., classes]`, floating point.
        labels: integers `[...]`, or probabilities `[..., classes]`, of which the largest counts.
        k: from 1 to classes.
        weights: `[...]`.

    Returns:
        A streamable `Mean`, NaN if a logit is.

    Raises:
        ValueError: if the shapes or `k` do not fit.
        TypeError: if the logits are not floating point, or the labels not as described.

    Example:
        >>> top_k_accuracy(jnp.array([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]), jnp.array([1, 0]), k=2).compute()
        Array(0.5, dtype=float32)

    Warning:
        scikit-learn's `top_k_accuracy_score` counts the last of equal logits; here k = 1 is `accuracy`.
    """
    scores = class_logits("top_k_accuracy", logits)
    classes = class_indices("top_k_accuracy", labels, scores)
    if not 1 <= k <= scores.shape[-1]:
        raise ValueError(f"top_k_accuracy: k must be from 1 to the number of classes, {scores.shape[-1]}; got {k}")
    _, best = jax.lax.top_k(detached(scores), k)
    right = jnp.any(best == classes[..., None], axis=-1).astype(scores.dtype)
    valid = (classes >= 0) & (classes < scores.shape[-1]) & ~have_nan(scores)
    return mean(mark_invalid(right, valid), weights=weights)


def mean_squared_error(predictions: ArrayLike, targets: ArrayLike, *, weights: ArrayLike | None = None) -> Mean:
    """Mean squared error: the mean over examples, and over the outputs of each, of $(prediction - target)^2$.

    Args:
        predictions: `[batch, ...]`, floating point.
        targets: `[batch, ...]`, real numbers.
        weights: `[batch]`, or more of the first axes.

    Returns:
        A streamable `Mean`.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if the predictions are not floating point.

    Example:
        >>> mean_squared_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])).compute()
        Array(2., dtype=float32)
    """
    predictions = floating("mean_squared_error", "predictions", predictions)
    targets = like("mean_squared_error", "targets", targets, predictions, "predictions")
    return mean(jnp.square(predictions - targets), weights=weights)


def perplexity(losses: ArrayLike, *, weights: ArrayLike | None = None) -> Perplexity:
    """Perplexity: exp of the mean cross-entropy, the number of equally likely classes with the same uncertainty.

    Args:
        losses: `[...]`, cross-entropies in nats, such as `jaxnets.losses.cross_entropy`.
        weights: `[...]`; 0 for padding.

    Returns:
        A streamable `Perplexity`.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if the losses are not real numbers.

    Example:
        >>> print(f"{perplexity(jnp.log(jnp.array([2.0, 8.0]))).compute():.4f}")
        4.0000
    """
    return Perplexity(mean(losses, weights=weights))
