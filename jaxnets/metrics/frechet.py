"""The Fréchet distance of two sets of features, from their means and covariances."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.labels import floating
from jaxnets.metrics.metric import Sum, detached, example_weights, to_sum
from jaxnets.metrics.regression import weighted_mean
from jaxnets.types import Array, ArrayLike

_EXACT = jax.lax.Precision.HIGHEST


class Moments(NamedTuple):
    """Mean and covariance of features, streamable.

    Attributes:
        weight: the sum of the weights.
        mean: `[features]`.
        scatter: `[features, features]`, the sum of the products of the distances to the mean.
    """

    weight: Sum
    mean: Array
    scatter: Sum

    def merge(self, other: Moments) -> Moments:
        """Return the moments of the examples of both."""
        stacked: Moments = jax.tree.map(lambda a, b: jnp.stack([a, b]), self, other)
        return stacked.reduce()

    def reduce(self) -> Moments:
        """Return the moments of all examples, for arrays stacked along a first axis.

        Products of distances to the batches' means are moved to the common mean, without cancellation of large numbers.
        """
        weights = jnp.broadcast_to(self.weight.value()[:, None], self.mean.shape)
        mean = weighted_mean(self.mean, weights)
        moved = self.mean - jnp.broadcast_to(mean[None], self.mean.shape)
        between = jnp.matmul((weights * moved).T, moved, precision=_EXACT)
        return Moments(self.weight.reduce(), mean, self.scatter.reduce().merge(to_sum(between)))

    def compute(self) -> tuple[Array, Array]:
        """Return the mean `[features]` and the unbiased covariance `[features, features]`, NaN of fewer than 2."""
        weight = self.weight.value()
        return (
            jnp.where(weight == 0, jnp.nan, self.mean),
            self.scatter.value() / jnp.where(weight > 1, weight - 1, jnp.nan),
        )


class FrechetDistance(NamedTuple):
    """The Fréchet distance of two sets, from their moments.

    Attributes:
        first: the moments of one set, such as those of real images, which may come from a file.
        second: those of the other.
    """

    first: Moments
    second: Moments

    def merge(self, other: FrechetDistance) -> FrechetDistance:
        """Return the distance of the examples of both."""
        return FrechetDistance(self.first.merge(other.first), self.second.merge(other.second))

    def reduce(self) -> FrechetDistance:
        """Return the distance of all examples, for arrays stacked along a first axis."""
        return FrechetDistance(self.first.reduce(), self.second.reduce())

    def compute(self) -> Array:
        """Return the distance."""
        (mean, covariance), (other_mean, other_covariance) = self.first.compute(), self.second.compute()
        # The roots of the eigenvalues of A B are the singular values of sqrt(A) sqrt(B). To take the roots of computed
        # eigenvalues would make their rounding errors large, in float32 1e-7 of the largest one to 3e-4.
        product = jnp.matmul(_root(covariance), _root(other_covariance), precision=_EXACT)
        overlap = jnp.sum(jnp.linalg.svd(product, compute_uv=False))
        return (
            jnp.sum(jnp.square(mean - other_mean)) + jnp.trace(covariance) + jnp.trace(other_covariance) - 2 * overlap
        )


def _root(covariance: Array) -> Array:
    """The symmetric square root; eigenvalues that are negative by rounding count as 0."""
    values, vectors = jnp.linalg.eigh(covariance)
    roots = jnp.sqrt(jnp.where(values < 0, 0, values))
    return jnp.matmul(vectors * roots[None, :], vectors.T, precision=_EXACT)


def moments(features: ArrayLike, *, weights: ArrayLike | None = None) -> Moments:
    """Mean and covariance of features.

    Args:
        features: `[examples, features]`, floating point.
        weights: `[examples]`, by default all 1; an example of weight 2 counts as two.

    Returns:
        Streamable `Moments`.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if the features are not floating point.

    Example:
        >>> mean, covariance = moments(jnp.array([[0.0, 1.0], [2.0, 5.0]])).compute()
        >>> print(mean, covariance)
        [1. 3.] [[2. 4.]
         [4. 8.]]

    Reference:
        Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.
    """
    values = detached(floating("moments", "features", features))
    if values.ndim != 2:
        raise ValueError(f"moments: features must be [examples, features], got {list(values.shape)}")
    weight = example_weights("moments", weights, values.shape[:1], values.dtype)
    spread = jnp.broadcast_to(weight[:, None], values.shape)
    values = jnp.where(spread == 0, 0, values)  # examples of weight 0 may have any values, even NaN
    mean = weighted_mean(values, spread)
    distances = values - jnp.broadcast_to(mean[None], values.shape)
    scatter = jnp.matmul((spread * distances).T, distances, precision=_EXACT)
    return Moments(to_sum(jnp.sum(weight)), mean, to_sum(scatter))


def frechet_distance(
    first: ArrayLike | Moments,
    second: ArrayLike | Moments,
    *,
    first_weights: ArrayLike | None = None,
    second_weights: ArrayLike | None = None,
) -> FrechetDistance:
    """Fréchet distance of two sets of features, taken as normal distributions N(m, A) and N(n, B).

    $|m - n|^2 + tr(A + B - 2 (A B)^(1/2))$, the squared 2-Wasserstein distance of the two.

    Args:
        first: `[examples, features]`, floating point, such as features of real images; or their `moments`.
        second: `[examples, features]`, of the other set, with as many features; or its `moments`.
        first_weights: `[examples]`, by default all 1; 0 for padding.
        second_weights: the same for the other set.

    Returns:
        A streamable `FrechetDistance`, NaN with fewer than two examples in a set. Of moments that are the same in every
        batch make the metric at the end: `FrechetDistance(real, generated)`, since merging adds both sides.

    Raises:
        ValueError: if the shapes do not fit, or weights are given for moments.
        TypeError: if the features are not floating point.

    Example:
        >>> first = jnp.array([[0.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 2.0]])
        >>> print(f"{frechet_distance(first, first + 3).compute():.4f}")
        18.0000

    Reference:
        Fréchet, Sur la distance de deux lois de probabilité, 1957; Heusel et al., GANs trained by a two time-scale
        update rule converge to a local Nash equilibrium, 2017 (of Inception features: the FID).

    Warning:
        It depends on the network that made the features, and decreases with the number of examples: numbers compare
        only if both are the same. Computed from the eigenvalues of A B, as is common, it has errors of up to 2% of
        the trace in float32 where features are correlated; here they were below 1e-5 of it (see docs/LOG.md).
    """
    sides = []
    for name, given, weights in (("first", first, first_weights), ("second", second, second_weights)):
        if isinstance(given, Moments):
            if weights is not None:
                raise ValueError(f"frechet_distance: {name} are moments, which have weights; pass no {name}_weights")
            sides.append(given)
        else:
            sides.append(moments(given, weights=weights))
    if sides[0].mean.shape != sides[1].mean.shape:
        raise ValueError(
            "frechet_distance: both sets need the same features, got "
            f"{list(sides[0].mean.shape)} and {list(sides[1].mean.shape)}"
        )
    return FrechetDistance(*sides)
