"""PSNR and SSIM against SciPy's filters, and their gradients against PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import torch

from jaxnets import metrics
from tests.forms import float64
from tests.oracles import normal, quick_jit
from tests.torch_oracle import assert_parity

GENERATOR = np.random.default_rng(0)
TARGETS = GENERATOR.uniform(0, 255, (3, 14, 17, 2))
IMAGES = TARGETS + GENERATOR.normal(0, [[[[5.0]]], [[[30.0]]], [[[90.0]]]], TARGETS.shape)


@functools.partial(quick_jit, static_argnums=2)
def ssim(images, targets, data_range, weights=None):
    return metrics.ssim(images, targets, data_range=data_range, weights=weights).compute()


def scipy_ssim(x, y, data_range):
    """Of one channel: means under the window by `gaussian_filter`, which has a radius of truncate * sigma = 5."""

    def blur(image):
        return scipy.ndimage.gaussian_filter(image, 1.5, truncate=3.5)

    m_x, m_y = blur(x), blur(y)
    v_x, v_y, c = blur(x * x) - m_x**2, blur(y * y) - m_y**2, blur(x * y) - m_x * m_y
    c_1, c_2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    values = (2 * m_x * m_y + c_1) * (2 * c + c_2) / ((m_x**2 + m_y**2 + c_1) * (v_x + v_y + c_2))
    return values[5:-5, 5:-5].mean()


def expected_ssim(images, targets, data_range):
    pairs = zip(images, targets, strict=True)
    return [np.mean([scipy_ssim(x[..., c], y[..., c], data_range) for c in range(2)]) for x, y in pairs]


def test_ssim_is_scipys():
    expected = expected_ssim(IMAGES, TARGETS, 255)
    assert min(expected) < 0.8 < max(expected)
    with float64():
        np.testing.assert_allclose(ssim(IMAGES, TARGETS, 255), np.mean(expected), rtol=1e-12)
    for shift in (0, 1000):  # far from zero, sums of squares minus squares of means would have no digits in float32
        images, targets = (x.astype(np.float32) / 255 + shift for x in (IMAGES, TARGETS))
        exact = expected_ssim(images.astype(np.float64), targets.astype(np.float64), 1)
        weights = np.array([1.0, 0.0, 2.0], np.float32)
        actual = ssim(images, targets, 1, weights)
        np.testing.assert_allclose(actual, np.average(exact, weights=weights), rtol=1e-4 if shift else 1e-5)


def test_gradients_of_ssim_are_torchs():
    taps = torch.exp(-(torch.arange(-5.0, 6.0) ** 2) / (2 * 1.5**2))
    window = torch.outer(taps / taps.sum(), taps / taps.sum())[None, None]

    def blur(x):
        return torch.nn.functional.conv2d(x, window)

    def torch_ssim(x, y):
        x, y = (z.permute(0, 3, 1, 2) for z in (x, y))
        m_x, m_y = blur(x), blur(y)
        v, c = blur(x * x) + blur(y * y) - m_x**2 - m_y**2, blur(x * y) - m_x * m_y
        return ((2 * m_x * m_y + 1e-4) * (2 * c + 9e-4) / ((m_x**2 + m_y**2 + 1e-4) * (v + 9e-4))).mean()

    x, y = (normal(1, 13, 12, 1, seed=seed) for seed in range(2))
    assert_parity(lambda x, y: metrics.ssim(x, y, data_range=1).compute(), torch_ssim, x, y, atol=1e-6)


def test_psnr_is_the_mean_over_images():
    expected = [10 * np.log10(255**2 / np.mean((x - y) ** 2)) for x, y in zip(IMAGES, TARGETS, strict=True)]
    parts = [metrics.psnr(IMAGES[r].astype(np.float32), TARGETS[r], data_range=255) for r in (slice(0, 1), slice(1, 3))]
    np.testing.assert_allclose(metrics.merge(*parts).compute(), np.mean(expected), rtol=1e-6)
    assert_parity(
        lambda x, y: metrics.psnr(x, y, data_range=2.0).compute(),
        lambda x, y: (10 * torch.log10(4 / ((x - y) ** 2).mean(dim=(1, 2, 3)))).mean(),
        *(normal(2, 3, 4, 1, seed=seed) for seed in range(2)),
    )


def test_equal_images_are_equal():
    image = np.ones((1, 11, 11, 1), np.float32)
    assert metrics.psnr(image, image, data_range=1).compute() == np.inf
    value, slope = quick_jit(jax.value_and_grad(lambda x: metrics.ssim(x, image, data_range=1).compute()))(image)
    np.testing.assert_allclose(value, 1, rtol=1e-6)
    np.testing.assert_allclose(slope, np.zeros_like(slope), atol=1e-6)


def test_errors():
    image = jnp.ones((1, 11, 11, 1))
    with pytest.raises(ValueError, match=r"11 pixels high and wide or more, got \[1, 10, 11, 1\]"):
        metrics.ssim(image[:, 1:], image[:, 1:], data_range=1)
    with pytest.raises(ValueError, match=r"images must be \[batch, height, width, channels\], .* got \[11, 11, 1\]"):
        metrics.ssim(image[0], image[0], data_range=1)
    with pytest.raises(ValueError, match="psnr: data_range must be positive, got 0"):
        metrics.psnr(image, image, data_range=0)
    with pytest.raises(ValueError, match=r"predictions must be \[batch, ...\], got \[11\]"):
        metrics.psnr(image[0, 0, :, 0], image[0, 0, :, 0], data_range=1)
    with pytest.raises(TypeError, match="predictions must be floating point, got uint8"):
        metrics.psnr(image.astype(jnp.uint8), image, data_range=255)


@pytest.mark.parametrize("padding", [0.0, np.nan])
@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim])
def test_images_of_weight_zero_have_no_part_in_the_gradient(metric, padding):
    images, targets = normal(2, 12, 12, 1), normal(2, 12, 12, 1, seed=1)
    images[1] = targets[1] = padding

    def score(images, targets, **weights):
        return metric(images, targets, data_range=1.0, **weights).compute()

    value, gradient = jax.value_and_grad(score)(images, targets, weights=jnp.array([1.0, 0.0]))
    alone, expected = jax.value_and_grad(score)(images[:1], targets[:1])
    np.testing.assert_allclose(value, alone, rtol=1e-6)
    np.testing.assert_allclose(gradient[:1], expected, rtol=1e-5, atol=1e-8)
    np.testing.assert_array_equal(gradient[1], 0)
