"""The coefficient of determination."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.labels import floating, like
from jaxnets.metrics.metric import Sum, detached, example_weights, to_sum
from jaxnets.types import Array, ArrayLike


class R2(NamedTuple):
    """The coefficient of determination of each output; every array is `[outputs]`.

    Attributes:
        examples: the number of examples with nonzero weight.
        weight: the sum of the weights.
        mean: the mean of the targets.
        spread: the sum of the squared distances of the targets to that mean.
        residual: the sum of the squared errors.
    """

    examples: Sum
    weight: Sum
    mean: Array
    spread: Sum
    residual: Sum

    def merge(self, other: R2) -> R2:
        """Return the metric of the examples of both."""
        stacked: R2 = jax.tree.map(lambda a, b: jnp.stack([a, b]), self, other)
        return stacked.reduce()

    def reduce(self) -> R2:
        """Return the metric of all examples, for arrays stacked along a first axis.

        Squared distances to the batches' means are moved to the common mean, without cancellation of large numbers.
        """
        weights = self.weight.value()
        mean = weighted_mean(self.mean, weights)
        moved = weights * jnp.square(self.mean - jnp.broadcast_to(mean[None], self.mean.shape))
        return R2(
            self.examples.reduce(),
            self.weight.reduce(),
            mean,
            self.spread.merge(to_sum(moved)).reduce(),
            self.residual.reduce(),
        )

    def compute(self) -> Array:
        """Return R^2, the mean over the outputs."""
        residual, spread = self.residual.value(), self.spread.value()
        score = 1 - residual / jnp.where(spread == 0, 1, spread)
        constant = jnp.where(residual == 0, 1, jnp.where(jnp.isnan(residual), residual, 0))
        score = jnp.where(spread == 0, constant, score)
        return jnp.mean(jnp.where(self.examples.value() < 2, jnp.nan, score), axis=-1)


def weighted_mean(values: Array, weights: Array) -> Array:
    """Return the weighted mean over the first axis, 0 without weights, exact for equal values.

    Its error is computed and subtracted, so it is accurate even if the mean is large compared with the spread.
    """
    total = jnp.sum(weights, axis=0)
    total = jnp.where(total == 0, 1, total)
    rough = jnp.sum(weights * values, axis=0) / total
    return rough + jnp.sum(weights * (values - jnp.broadcast_to(rough[None], values.shape)), axis=0) / total


def r2(predictions: ArrayLike, targets: ArrayLike, *, weights: ArrayLike | None = None) -> R2:
    """Coefficient of determination: $R^2 = 1 - (sum (target - prediction)^2) / (sum (target - mean(target))^2)$.

    1 is perfect, 0 as good as predicting the mean; it may be negative. As in scikit-learn, several outputs give the
    mean of their scores; targets that are all equal give 1 if predicted exactly, else 0; fewer than two examples give
    NaN.

    Args:
        predictions: `[batch]` or `[batch, ...]`, floating point.
        targets: the same shape, real numbers.
        weights: `[batch]`, by default all 1.

    Returns:
        A streamable `R2`.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if the predictions are not floating point.

    Example:
        >>> r2(jnp.array([1.0, 2.0, 3.0, 4.0]), jnp.array([0.0, 2.0, 4.0, 6.0])).compute()
        Array(0.7, dtype=float32)

    Reference:
        Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
    """
    outputs = detached(floating("r2", "predictions", predictions))
    wanted = detached(like("r2", "targets", targets, outputs, "predictions"))
    if outputs.ndim == 0:
        raise ValueError("r2: predictions must be [batch, ...], got a scalar; write predictions[None]")
    weight = example_weights("r2", weights, outputs.shape[:1], outputs.dtype)
    outputs, wanted = (x.reshape((len(x), -1)) if x.size else x.reshape((len(x), 1)) for x in (outputs, wanted))
    spread_weight = jnp.broadcast_to(weight[:, None], outputs.shape)
    # Examples of weight 0 may have any values, even NaN.
    outputs, wanted = (jnp.where(spread_weight == 0, 0, x) for x in (outputs, wanted))
    mean = weighted_mean(wanted, spread_weight)
    distance = wanted - jnp.broadcast_to(mean[None], wanted.shape)
    return R2(
        to_sum(jnp.sum((spread_weight != 0).astype(outputs.dtype), axis=0)),
        to_sum(jnp.sum(spread_weight, axis=0)),
        mean,
        to_sum(jnp.sum(spread_weight * jnp.square(distance), axis=0)),
        to_sum(jnp.sum(spread_weight * jnp.square(wanted - outputs), axis=0)),
    )
