"""Brightness, contrast and saturation against PIL, and the factors that are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from PIL import Image, ImageEnhance

from jaxnets.data import augment
from tests.data.augment.ramps import draw

KEY = jax.random.key(2)
ONE_LEVEL = 1.01 / 255  # PIL works with whole gray levels
FORMS = {
    "brightness": (augment.adjust_brightness, augment.brightness, ImageEnhance.Brightness),
    "contrast": (augment.adjust_contrast, augment.contrast, ImageEnhance.Contrast),
    "saturation": (augment.adjust_saturation, augment.saturation, ImageEnhance.Color),
}


def levels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.9])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_equals_pil(name, factor, mode):
    adjust, _, enhance = FORMS[name]
    pixels = levels(8, 9, 3) if mode == "RGB" else levels(8, 9)
    expected = np.asarray(enhance(Image.fromarray(pixels)).enhance(factor)) / 255
    images = jnp.asarray(pixels.reshape(1, 8, 9, -1) / 255, jnp.float32)
    actual = adjust(images, factor, clip=(0.0, 1.0))
    np.testing.assert_allclose(actual[0], expected.reshape(8, 9, -1), atol=2 * ONE_LEVEL)


@pytest.mark.parametrize("name", FORMS)
def test_without_clip_the_change_is_linear_in_the_factor(name):
    adjust = FORMS[name][0]
    images = jnp.asarray(levels(2, 8, 9, 3) / 255, jnp.float32)
    none, half, one, three = (np.asarray(adjust(images, factor)) for factor in (0.0, 0.5, 1.0, 3.0))
    np.testing.assert_allclose(one, images, atol=1e-6)
    np.testing.assert_allclose(half, (none + images) / 2, atol=1e-6)
    np.testing.assert_allclose(three, none + 3 * (images - none), atol=1e-5)
    assert three.max() > 1.1


def test_contrast_keeps_the_mean_grey_and_saturation_the_grey_of_each_pixel():
    images = jnp.asarray(levels(2, 8, 9, 3) / 255, jnp.float32)
    gray = np.array([0.299, 0.587, 0.114])
    before, after = np.asarray(images) @ gray, np.asarray(augment.adjust_contrast(images, 1.7)) @ gray
    np.testing.assert_allclose(after.mean(axis=(1, 2)), before.mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(np.asarray(augment.adjust_saturation(images, 1.7)) @ gray, before, atol=1e-6)


@pytest.mark.parametrize("name", FORMS)
def test_each_image_has_its_own_factor_drawn_uniformly(name):
    adjust, function, _ = FORMS[name]
    image = jnp.asarray(levels(2, 2, 3) / 255, jnp.float32)
    images = jnp.broadcast_to(image[None], (2000, 2, 2, 3))
    start, end = (np.asarray(adjust(image[None], factor), np.float64) for factor in (0.0, 1.0))
    factors = ((np.asarray(draw(function, images, KEY, factor=(0.5, 1.5))) - start) / (end - start)).mean(
        axis=(1, 2, 3)
    )
    assert scipy.stats.kstest(factors, "uniform", args=(0.5, 1.0)).pvalue > 0.01


def test_errors():
    with pytest.raises(ValueError, match=r"adjust_contrast: images must have 1 channel or 3 \(red, green, blue\)"):
        augment.adjust_contrast(jnp.ones((1, 2, 2, 4)), 0.5)
    with pytest.raises(ValueError, match=r"brightness: factor must be \(low, high\) with 0.0 <= low <= high"):
        augment.brightness(jnp.ones((1, 2, 2, 3)), key=KEY, factor=(-0.5, 1.0))
