"""Noise and blur against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from jaxnets.data import augment
from tests.data.augment.ramps import draw
from tests.oracles import normal

KEY = jax.random.key(1)


def test_noise_is_normal_with_the_deviation_of_each_image():
    deviations = jnp.array([0.1, 2.0])
    noise = draw(augment.gaussian_noise, jnp.full((2, 40, 40, 2), 0.5), KEY, deviation=deviations) - 0.5
    for sample, deviation in zip(np.asarray(noise), deviations, strict=True):
        assert scipy.stats.kstest(sample.ravel() / float(deviation), "norm").pvalue > 0.01


def test_noise_of_images_channels_and_pixels_is_not_the_same():
    noise = np.asarray(draw(augment.gaussian_noise, jnp.zeros((3, 30, 30, 3)), KEY, deviation=1.0))
    rows = noise.transpose(0, 3, 1, 2).reshape(9, -1)
    assert np.abs(np.corrcoef(rows) - np.eye(9)).max() < 0.15


def test_clip():
    noisy = draw(augment.gaussian_noise, jnp.full((1, 9, 9, 1), 0.5), KEY, deviation=9.0, clip=(0.0, 1.0))
    assert set(np.unique(noisy)) >= {0.0, 1.0}
    assert float(noisy.min()) == 0
    assert float(noisy.max()) == 1


@pytest.mark.parametrize(("sigma", "radius"), [(0.7, None), (2.0, None), (1.5, 2), (3.0, 12)])
def test_blur_equals_scipy_even_where_the_window_is_larger_than_the_image(sigma, radius):
    images = normal(2, 7, 10, 2)
    expected = scipy.ndimage.gaussian_filter(images, (0, sigma, sigma, 0), mode="mirror", radius=radius)
    blur = jax.jit(lambda x: augment.blur(x, sigma, radius=radius))
    np.testing.assert_allclose(blur(images), expected, atol=1e-5)


def test_each_image_has_its_own_sigma_and_zero_is_nothing():
    images = normal(2, 7, 10, 2)
    y = jax.jit(lambda x, sigma: augment.blur(x, sigma, radius=5))(images, jnp.array([0.0, 1.3]))
    np.testing.assert_allclose(y[0], images[0], atol=1e-6)
    expected = scipy.ndimage.gaussian_filter(images[1], (1.3, 1.3, 0), mode="mirror", radius=5)
    np.testing.assert_allclose(y[1], expected, atol=1e-5)


def test_no_images_stay_none():
    assert augment.blur(jnp.zeros((0, 4, 4, 3)), 1.0).shape == (0, 4, 4, 3)


def test_sigmas_are_uniform():
    impulse = jnp.zeros((500, 1, 17, 1)).at[:, 0, 8].set(1.0)
    y = np.asarray(draw(augment.gaussian_blur, impulse, KEY, sigma=(0.5, 1.5)), np.float64)[:, 0, :, 0]
    sigmas = np.sqrt(1 / (2 * np.log(y[:, 8] / y[:, 9])))
    assert scipy.stats.kstest(sigmas, "uniform", args=(0.5, 1.0)).pvalue > 0.01


def test_errors():
    with pytest.raises(ValueError, match=r"sigma is an array; pass radius=int\(4 \* largest_sigma \+ 0.5\)"):
        augment.blur(jnp.ones((1, 4, 4, 1)), jnp.ones(1))
    with pytest.raises(ValueError, match=r"sigma must be \(low, high\) with 0.0 <= low"):
        augment.gaussian_blur(jnp.ones((1, 4, 4, 1)), key=KEY, sigma=(-1.0, 1.0))
    with pytest.raises(ValueError, match=r"sigma and radius must be at least 0"):
        augment.blur(jnp.ones((1, 4, 4, 1)), -0.1)
