"""The terms of the evidence lower bound, which variational autoencoders and their kin maximize.

    $log p(x) >= E[log p(x | z)] - KL(q(z | x) || p(z))$

with z drawn from $q(z | x)$. The first term is `-binary_cross_entropy(logits, x)` summed over the pixels of
black-and-white images (Bernoulli), or `jax.scipy.stats.norm.logpdf` summed over real numbers; the second is
`gaussian_kl`.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.labels import floating, like
from jaxnets.types import Array, ArrayLike


def gaussian_kl(
    mean: ArrayLike,
    log_variance: ArrayLike,
    other_mean: ArrayLike | None = None,
    other_log_variance: ArrayLike | None = None,
) -> Array:
    """Kullback-Leibler divergence of diagonal normal distributions from the standard one, or from others.

    $KL(N(m, v) || N(0, 1)) = sum_k (m_k^2 + v_k - 1 - log v_k) / 2$, and
    $KL(N(m, v) || N(n, w)) = sum_k ((m_k - n_k)^2 / w_k + v_k / w_k - 1 - log(v_k / w_k)) / 2$.

    Args:
        mean: `[..., latents]`, floating point: m.
        log_variance: `[..., latents]`: log v. A network puts it out as it is, since it may be any real number.
        other_mean: `[..., latents]`: n, of the distribution that is diverged from; by default 0.
        other_log_variance: `[..., latents]`: log w; by default 0. Both are given, or neither.

    Returns:
        `[...]`, one number an example, in nats: the sum over the last axis. 0 where the distributions are equal.

    Raises:
        ValueError: if the shapes differ, there is no axis of latents, or one of the others is missing.
        TypeError: if the means are not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> gaussian_kl(jnp.array([[1.0, 2.0]]), jnp.zeros((1, 2)))
        Array([2.5], dtype=float32)
        >>> gaussian_kl(jnp.array([[1.0, 2.0]]), jnp.zeros((1, 2)), jnp.array([[1.0, 0.0]]), jnp.zeros((1, 2)))
        Array([2.], dtype=float32)

    Reference:
        Kingma and Welling, Auto-encoding variational Bayes, 2014, appendix B.

    Warning:
        `torch.distributions.Normal` and TensorFlow Probability take standard deviations, $exp(log_variance / 2)$. Many
        programs take the mean over latents, which weighs the divergence less than the bound does.
    """
    mean = floating("gaussian_kl", "mean", mean)
    log_variance = like("gaussian_kl", "log_variance", log_variance, mean, "mean")
    if mean.ndim == 0:
        raise ValueError("gaussian_kl: mean must be [..., latents], got a scalar; write mean[None]")
    if (other_mean is None) != (other_log_variance is None):
        missing = "other_mean" if other_mean is None else "other_log_variance"
        raise ValueError(f"gaussian_kl: {missing} is missing; pass both others or neither, zeros where meant")
    if other_mean is None or other_log_variance is None:
        # expm1, because exp(s) - 1 loses the digits of a variance near 1.
        return jnp.sum(jnp.square(mean) + jnp.expm1(log_variance) - log_variance, axis=-1) / 2
    distance = mean - like("gaussian_kl", "other_mean", other_mean, mean, "mean")
    other_log_variance = like("gaussian_kl", "other_log_variance", other_log_variance, mean, "mean")
    ratio = log_variance - other_log_variance
    # The bound keeps this finite: infinity times a distance of 0 would be NaN.
    precision = jnp.exp(jnp.minimum(-other_log_variance / 2, math.log(np.finfo(mean.dtype).max) - 1))
    return jnp.sum(jnp.square(distance * precision) + jnp.expm1(ratio) - ratio, axis=-1) / 2


def importance_weighted_bound(log_weights: ArrayLike, *, axis: int = 0) -> Array:
    """Importance-weighted lower bound of $log p(x)$: $log (1/K) sum_k exp(log_weights_k)$.

    The weights are $log w_k = log p(x | z_k) + log p(z_k) - log q(z_k | x)$ with $z_k$ drawn from $q(z | x)$. The bound
    grows with the number of samples K towards $log p(x)$; with one sample it is the evidence lower bound.

    Args:
        log_weights: `[samples, ...]`, floating point.
        axis: that of the samples.

    Returns:
        The shape without the samples, in nats. It is to be maximized: the loss is its negative.

    Raises:
        ValueError: if there is no such axis, or it has no samples.
        TypeError: if the weights are not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> print(jnp.exp(importance_weighted_bound(jnp.log(jnp.array([[1.0, 5.0], [3.0, 7.0]])))))
        [2. 6.]

    Reference:
        Burda, Grosse and Salakhutdinov, Importance weighted autoencoders, 2016, equation 8.
    """
    array = floating("importance_weighted_bound", "log_weights", log_weights)
    if not -array.ndim <= axis < array.ndim or array.shape[axis] == 0:
        raise ValueError(
            f"importance_weighted_bound: log_weights need samples on axis {axis}, got {list(array.shape)}; "
            "write log_weights[None] for one sample"
        )
    return jax.nn.logsumexp(array, axis=axis) - jnp.log(jnp.asarray(array.shape[axis], array.dtype))
