"""Elastic distortion against scipy, and the statistics of its displacements."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from jaxnets.data import augment
from tests.data.augment.ramps import draw, ramps
from tests.oracles import normal


def test_displacement_equals_scipy():
    images, moves = normal(2, 6, 7, 2), 2 * normal(2, 6, 7, 2, seed=1)
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(7), indexing="ij"))
    expected = [
        np.stack(
            [
                scipy.ndimage.map_coordinates(
                    image[..., i], grid + move.transpose(2, 0, 1), order=1, mode="grid-constant", cval=0.5
                )
                for i in range(2)
            ],
            axis=-1,
        )
        for image, move in zip(images, moves, strict=True)
    ]
    np.testing.assert_allclose(jax.jit(augment.displace)(images, moves, fill=0.5), expected, atol=1e-5)


def test_displacements_have_the_strength_and_the_smoothness_that_the_documentation_says():
    alpha, sigma, margin = 20.0, 3.0, 16
    images = ramps(24, 80, 80)
    distorted = draw(augment.elastic, images, jax.random.key(0), alpha=alpha, sigma=sigma)
    moves = np.asarray(distorted - images)[:, margin:-margin, margin:-margin]
    deviation = alpha / (sigma * np.sqrt(12 * np.pi))
    np.testing.assert_allclose(moves.std(), deviation, rtol=0.03)
    assert abs(moves.mean()) < 0.1 * deviation
    # A field of independent numbers smoothed with exp(-d^2 / 2s^2) has the correlation exp(-d^2 / 4s^2).
    for distance in (1, 3, 6):
        correlation = np.mean(moves[:, distance:] * moves[:, :-distance]) / deviation**2
        np.testing.assert_allclose(correlation, np.exp(-(distance**2) / (4 * sigma**2)), atol=0.06)
    vertical, horizontal = moves[..., 0].ravel(), moves[..., 1].ravel()
    assert abs(np.corrcoef(vertical, horizontal)[0, 1]) < 0.15


def test_alpha_zero_is_nothing():
    images = normal(2, 6, 7, 2)
    np.testing.assert_array_equal(draw(augment.elastic, images, jax.random.key(0), alpha=0.0), images)


def test_errors():
    with pytest.raises(ValueError, match=r"elastic: sigma must be positive, got 0"):
        augment.elastic(jnp.ones((1, 4, 4, 1)), key=jax.random.key(0), sigma=0.0)
    with pytest.raises(ValueError, match=r"displacements must have shape \[4, 4, 2\]"):
        augment.displace(jnp.ones((1, 4, 4, 1)), jnp.ones((4, 5, 2)))


@pytest.mark.parametrize("method", ["bilinear", "nearest"])
def test_a_pixel_that_comes_from_nowhere_is_nan(method):
    moves = jnp.zeros((1, 3, 3, 2)).at[0, 1, 1, 0].set(jnp.nan)
    moved = augment.displace(jnp.ones((1, 3, 3, 1)), moves, method=method)[0, :, :, 0]
    np.testing.assert_array_equal(jnp.isnan(moved), np.eye(9)[4].reshape(3, 3) == 1)
