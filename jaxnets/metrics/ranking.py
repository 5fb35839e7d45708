"""The exact area under the ROC curve, from all scores."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.labels import class_indices, class_logits, floating, like
from jaxnets.metrics.metric import detached, example_weights
from jaxnets.types import Array, ArrayLike


class RocAuc(NamedTuple):
    """The scores of all examples, from which the area is computed.

    Attributes:
        scores: `[examples]`, or `[examples, classes]` for one class against the rest.
        labels: integers `[examples]`.
        weights: `[examples]`.
    """

    scores: Array
    labels: Array
    weights: Array

    def merge(self, other: RocAuc) -> RocAuc:
        """Return the scores of both. The shape grows, so it cannot be carried in a `lax.scan`; use `reduce`."""
        return RocAuc(*(jnp.concatenate(pair) for pair in zip(self, other, strict=True)))

    def reduce(self) -> RocAuc:
        """Return the scores of all examples, for arrays stacked along a first axis."""
        return RocAuc(*(x.reshape((x.shape[0] * x.shape[1], *x.shape[2:])) for x in self))

    def compute(self) -> Array:
        """Return the area; for several classes the mean over classes."""
        if self.labels.ndim != 1:
            raise ValueError(
                f"RocAuc: labels must be [examples], got {list(self.labels.shape)}; call metrics.reduce on stacked "
                "batches, or jax.vmap(metrics.compute) on stacked seeds"
            )
        if self.scores.ndim == 1:
            return _area(self.scores, self.labels == 1, self.weights)
        is_class = self.labels[None, :] == jnp.arange(self.scores.shape[1], dtype=jnp.int32)[:, None]
        return jnp.mean(jax.vmap(_area, (0, 0, None))(self.scores.T, is_class, self.weights))


def _area(scores: Array, positive: Array, weights: Array) -> Array:
    """The share of pairs of a positive and a negative example in which the positive one has the higher score.

    Equal scores count half. In sorted order, `below` is the weight of the negatives with strictly lower scores and
    `through` that of the negatives with lower or equal scores.
    """
    order = jnp.argsort(scores)
    ranked, is_positive, weight = scores[order], positive[order], weights[order]
    negatives, positives = jnp.where(is_positive, 0, weight), jnp.where(is_positive, weight, 0)
    new = ranked[1:] != ranked[:-1]
    edge = jnp.ones(1, bool)
    total = jnp.cumsum(negatives)
    below = jax.lax.cummax(jnp.where(jnp.concatenate([edge, new]), total - negatives, 0))
    through = jax.lax.cummin(jnp.where(jnp.concatenate([new, edge]), total, jnp.inf), reverse=True)
    # Shares are added, not products of counts, which would exceed the precision of float32.
    share = (below + through) / 2 / jnp.sum(negatives)
    area = jnp.sum(positives * share) / jnp.sum(positives)
    return jnp.where(jnp.any(jnp.isnan(scores)), jnp.nan, area)


def roc_auc(logits: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> RocAuc:
    """Area under the ROC curve of a binary classifier.

    The probability that an example of class 1 has a higher score than one of class 0, equal scores counting half.
    It is exact, and therefore keeps all scores: 12 bytes per example.

    Args:
        logits: `[...]`, floating point; any score that orders the examples.
        labels: `[...]`, 0 or 1, or booleans.
        weights: `[...]`, not negative, by default all 1.

    Returns:
        A streamable `RocAuc`. NaN without examples of both classes.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if the logits are not floating point.

    Example:
        >>> roc_auc(jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])).compute()
        Array(0.75, dtype=float32)

    Reference:
        Hanley and McNeil, The meaning and use of the area under a receiver operating characteristic curve, 1982.
    """
    scores = floating("roc_auc", "logits", logits)
    answers = like("roc_auc", "labels", labels, scores, "logits")
    weight = example_weights("roc_auc", weights, scores.shape, scores.dtype)
    valid = (answers == 0) | (answers == 1)
    return _kept(scores.reshape(-1), answers.reshape(-1).astype(jnp.int32), weight.reshape(-1), valid.reshape(-1))


def roc_auc_one_vs_rest(logits: ArrayLike, labels: ArrayLike, *, weights: ArrayLike | None = None) -> RocAuc:
    """Mean over the classes of the area under the ROC curve of each class against the rest.

    Scores are the logarithms of the probabilities softmax(logits), which have the same order.

    Args:
        logits: `[..., classes]`, floating point.
        labels: integers `[...]`, or probabilities `[..., classes]`, of which the largest counts.
        weights: `[...]`, not negative, by default all 1.

    Returns:
        A streamable `RocAuc`, with 4 bytes per example and class. NaN unless every class has examples.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if the logits are not floating point, or the labels not as described.

    Example:
        >>> logits = jnp.array([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.5, 0.6]])
        >>> roc_auc_one_vs_rest(logits, jnp.array([0, 1, 2, 1])).compute()
        Array(1., dtype=float32)

    Reference:
        Provost and Domingos, Well-trained PETs: improving probability estimation trees, 2000.
    """
    scores = class_logits("roc_auc_one_vs_rest", logits)
    classes = class_indices("roc_auc_one_vs_rest", labels, scores)
    weight = example_weights("roc_auc_one_vs_rest", weights, classes.shape, scores.dtype)
    valid = (classes >= 0) & (classes < scores.shape[-1])
    rows = jax.nn.log_softmax(scores).reshape((-1, scores.shape[-1]))
    return _kept(rows, classes.reshape(-1), weight.reshape(-1), valid.reshape(-1))


def _kept(scores: Array, labels: Array, weights: Array, valid: Array) -> RocAuc:
    """Replace the values of examples of weight 0, and the weights of examples with invalid labels by NaN."""
    spread = jnp.broadcast_to((weights == 0).reshape((-1, *(1,) * (scores.ndim - 1))), scores.shape)
    weights = jnp.where(valid | (weights == 0), weights, jnp.nan)
    return RocAuc(detached(jnp.where(spread, 0, scores)), labels, weights)
