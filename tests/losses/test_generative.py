"""The terms of the evidence lower bound against torch.distributions and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from jaxnets import losses
from tests.oracles import normal, quick_jit
from tests.torch_oracle import assert_parity


def test_gaussian_kl_is_that_of_torch():
    def torch_kl(m, s, n=None, r=None):
        other = Normal(0.0, 1.0) if n is None else Normal(n, torch.exp(r / 2))
        return kl_divergence(Normal(m, torch.exp(s / 2)), other).sum(-1)

    arrays = [normal(3, 4, seed=seed) for seed in range(4)]
    assert_parity(losses.gaussian_kl, torch_kl, *arrays[:2])
    assert_parity(losses.gaussian_kl, torch_kl, *arrays)


def test_gaussian_kl_of_nearly_equal_variances_keeps_its_digits():
    """By hand: (exp(s) - 1 - s) / 2 = s^2 / 4 + s^3 / 12 + ..."""
    shift = np.float32(1e-3)
    expected = float(shift) ** 2 / 4 + float(shift) ** 3 / 12
    zeros = jnp.zeros(1)
    for value in (losses.gaussian_kl(zeros, zeros + shift), losses.gaussian_kl(zeros, zeros + shift, zeros, zeros)):
        np.testing.assert_allclose(value, expected, rtol=1e-3)


def test_the_bernoulli_likelihood_is_the_negative_cross_entropy():
    pixels = (normal(3, 5) > 0).astype(np.float32)
    assert_parity(
        lambda z: -jnp.sum(losses.binary_cross_entropy(z, pixels), axis=-1),
        lambda z: Bernoulli(logits=z).log_prob(torch.tensor(pixels)).sum(-1),
        3 * normal(3, 5, seed=1),
    )


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_importance_weighted_bound_is_the_log_of_the_mean_weight(axis):
    log_weights = 30 * normal(4, 3) - 800  # exp underflows in float32 and float64
    expected = scipy.special.logsumexp(log_weights.astype(np.float64), axis=axis) - np.log(log_weights.shape[axis])
    np.testing.assert_allclose(
        quick_jit(lambda w: losses.importance_weighted_bound(w, axis=axis))(log_weights), expected, rtol=1e-6
    )


def test_the_bounds_of_a_normal_model_are_below_its_likelihood_and_grow_towards_it():
    """z ~ N(0, 1), x ~ N(z, 1): so x ~ N(0, 2), and z given x is N(x/2, 1/2), which q misses."""
    x, mean, variance = 1.5, 0.5, 1.2
    log_density = scipy.stats.norm.logpdf
    z = mean + np.sqrt(variance) * normal(200_000, dtype=np.float64)
    log_weights = log_density(x - z) + log_density(z) - log_density(z, mean, np.sqrt(variance))
    log_weights = log_weights.astype(np.float32)
    bound = quick_jit(losses.importance_weighted_bound)
    bounds = [float(np.mean(bound(log_weights.reshape(k, -1)))) for k in (1, 5, 50)]
    likelihood = log_density(x, scale=np.sqrt(2))
    kl = losses.gaussian_kl(jnp.array([mean]), jnp.log(jnp.array([variance])))
    np.testing.assert_allclose(bounds[0], log_density(x, mean) - variance / 2 - kl, atol=0.01)
    assert bounds[0] < bounds[1] < bounds[2] < likelihood + 0.005
    np.testing.assert_allclose(bounds[2], likelihood, atol=0.01)


def test_errors():
    two = jnp.zeros((2, 3))
    with pytest.raises(ValueError, match=r"mean and log_variance must have the same shape, got \[2, 3\] and \[3\]"):
        losses.gaussian_kl(two, two[0])
    with pytest.raises(ValueError, match="other_log_variance is missing; pass both"):
        losses.gaussian_kl(two, two, two)
    with pytest.raises(ValueError, match=r"mean must be \[..., latents\], got a scalar"):
        losses.gaussian_kl(0.0, 0.0)
    with pytest.raises(ValueError, match=r"need samples on axis 2, got \[2, 3\]; write log_weights\[None\]"):
        losses.importance_weighted_bound(two, axis=2)
    with pytest.raises(ValueError, match=r"got \[0, 3\]"):
        losses.importance_weighted_bound(two[:0])


def test_gaussian_kl_of_tiny_variances():
    """Equal distributions, and two latents whose means lie one deviation apart: 1/2 each."""
    log_variance = jnp.array([[-90.0, -170.0], [-90.0, -900.0]])
    zeros = jnp.zeros_like(log_variance)
    for value in jax.value_and_grad(lambda m: losses.gaussian_kl(m, log_variance, zeros, log_variance).sum())(zeros):
        np.testing.assert_array_equal(value, 0)
    apart = jnp.exp(log_variance[:1] / 2)
    np.testing.assert_allclose(losses.gaussian_kl(apart, log_variance[:1], zeros[:1], log_variance[:1]), 1, rtol=1e-4)
