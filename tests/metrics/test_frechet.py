"""The Fréchet distance against SciPy's square root of a matrix, and moments against NumPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxnets import metrics
from tests.forms import float64, needs_devices
from tests.oracles import assert_close, normal, quick_jit

FEATURES = 12
FIRST = normal(60, FEATURES, dtype=np.float64) * np.arange(1, FEATURES + 1) ** -1.0 + 2
SECOND = 1.2 * normal(50, FEATURES, seed=1, dtype=np.float64) @ normal(FEATURES, FEATURES, seed=2) / 4


def scipy_distance(first, second):
    a, b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = scipy.linalg.sqrtm(a @ b).real
    return np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(a + b - 2 * root)


compute = quick_jit(lambda a, b: metrics.frechet_distance(a, b).compute())


def test_float64_is_scipys_to_the_last_digits():
    with float64():
        np.testing.assert_allclose(compute(FIRST, SECOND), scipy_distance(FIRST, SECOND), rtol=1e-11)
        np.testing.assert_allclose(compute(FIRST, FIRST), 0, atol=1e-12)


def test_float32_is_near_also_with_covariances_of_low_rank():
    for first, second in ((FIRST, SECOND), (FIRST[:7], SECOND[:9]), (FIRST, FIRST + 0.01), (FIRST[:7], FIRST[:7])):
        trace = np.trace(np.cov(first, rowvar=False)) + np.trace(np.cov(second, rowvar=False))
        with float64():
            exact = float(compute(first, second))  # sqrtm itself has errors of 1e-7 where a matrix is singular
        np.testing.assert_allclose(exact, scipy_distance(first, second), atol=1e-6 * trace)
        np.testing.assert_allclose(compute(np.float32(first), np.float32(second)), exact, rtol=1e-5, atol=1e-5 * trace)


def test_published_example_of_commuting_covariances():
    """Dowson and Landau, 1982: of one dimension (m - n)^2 + (a - b)^2 with the standard deviations a and b."""
    sample = np.array([[-1.0], [1.0]], np.float32) / np.sqrt(2, dtype=np.float32)  # standard deviation 1
    np.testing.assert_allclose(compute(3 * sample, 5 * sample + 4), 16 + 4, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 30])
def test_moments_of_any_batches_are_numpys(batch_size):
    """Far from zero, with batches merged one after the other, the last one smaller."""
    features = (FIRST + 1000).astype(np.float32)
    weights = np.random.default_rng(0).integers(0, 3, 60)
    total, measure = None, quick_jit(lambda x, w: metrics.moments(x, weights=w))
    for start in range(0, 60, batch_size):
        rows = slice(start, start + batch_size)
        spoiled = np.where(weights[rows, None] == 0, np.nan, features[rows])
        batch = measure(spoiled, weights[rows])
        total = batch if total is None else metrics.merge(total, batch)
    mean, covariance = metrics.compute(total)
    wide = features.astype(np.float64)
    np.testing.assert_allclose(mean, np.average(wide, axis=0, weights=weights), rtol=1e-6)
    np.testing.assert_allclose(covariance, np.cov(wide, rowvar=False, fweights=weights), rtol=2e-4, atol=1e-5)


def test_scanned_batches_and_moments_that_are_known():
    with float64():
        batches = FIRST.reshape(4, 15, FEATURES), SECOND[:48].reshape(4, 12, FEATURES)
        scan = quick_jit(
            lambda pairs: jax.lax.scan(lambda _, pair: (None, metrics.frechet_distance(*pair)), None, pairs)
        )
        _, stacked = scan(batches)
        expected = scipy_distance(FIRST, SECOND[:48])
        np.testing.assert_allclose(metrics.compute(metrics.reduce(stacked)), expected, rtol=1e-10)
        known = quick_jit(metrics.moments)(FIRST)
        np.testing.assert_allclose(compute(known, SECOND[:48]), expected, rtol=1e-10)


@needs_devices(4)
def test_devices_measure_what_one_device_measures():
    first, second = np.float32(FIRST).reshape(4, 15, FEATURES), np.float32(SECOND[:48]).reshape(4, 12, FEATURES)
    stacked = jax.pmap(metrics.frechet_distance, devices=jax.devices()[:4])(first, second)
    whole = compute(first.reshape(60, FEATURES), second.reshape(48, FEATURES))
    assert_close(metrics.compute(metrics.reduce(stacked)), whole, rtol=1e-5)


def test_undefined_and_refused():
    few = np.ones((1, 3), np.float32)
    assert np.isnan(compute(few, np.ones((4, 3), np.float32)))
    with pytest.raises(ValueError, match=r"both sets need the same features, got \[3\] and \[2\]"):
        metrics.frechet_distance(few, few[:, :2])
    with pytest.raises(ValueError, match=r"features must be \[examples, features\], got \[3\]"):
        metrics.moments(few[0])
    with pytest.raises(ValueError, match="second are moments, which have weights; pass no second_weights"):
        metrics.frechet_distance(few, metrics.moments(few), second_weights=jnp.ones(1))
    with pytest.raises(ValueError, match=r"weights must be \[1\], one per example, got \[2\]"):
        metrics.moments(few, weights=jnp.ones(2))
