"""Flips, rotation, scale and translation against scipy, and what their random forms draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.stats

from jaxnets.data import augment
from tests.data.augment.ramps import draw, ramps
from tests.oracles import normal

MANY = 2000
rotate, scale, translate = (
    jax.jit(function, static_argnames=("method",)) for function in (augment.rotate, augment.scale, augment.translate)
)
KEY = jax.random.key(3)


@pytest.mark.parametrize("degrees", [25.0, -70.0, 200.0])
def test_rotation_equals_scipy(degrees):
    images = normal(2, 8, 9, 2)
    expected = scipy.ndimage.rotate(
        images, degrees, axes=(2, 1), reshape=False, order=1, mode="grid-constant", cval=0.5
    )
    np.testing.assert_allclose(rotate(images, degrees, fill=0.5), expected, atol=1e-5)


@pytest.mark.parametrize("size", [6, 7])
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 4, -1])
def test_quarter_turns_of_square_images_are_exact(size, turns):
    images = normal(2, size, size, 3)
    for method in ("bilinear", "nearest"):
        y = rotate(images, 90.0 * turns, method=method)
        np.testing.assert_array_equal(y, np.rot90(images, turns, axes=(1, 2)))


def test_each_image_has_its_own_angle():
    images = normal(3, 6, 6, 1)
    y = rotate(images, jnp.array([0.0, 90.0, 180.0]))
    np.testing.assert_array_equal(y, [np.rot90(image, turns) for turns, image in enumerate(images)])


@pytest.mark.parametrize("factor", [0.5, 1.3, 2.0])
def test_scale_equals_scipy(factor):
    images = normal(1, 7, 9, 1)
    center = np.array([3.0, 4.0])
    expected = scipy.ndimage.affine_transform(
        images[0, ..., 0], np.eye(2) / factor, offset=center - center / factor, order=1, mode="grid-constant"
    )
    np.testing.assert_allclose(scale(images, factor)[0, ..., 0], expected, atol=1e-5)


@pytest.mark.parametrize("offsets", [(2, -1), (0.5, 1.25), (-9, 0)])
def test_translation_equals_scipy(offsets):
    images = normal(2, 6, 7, 3)
    expected = scipy.ndimage.shift(images, (0, *offsets, 0), order=1, mode="grid-constant", cval=-1.0)
    np.testing.assert_allclose(translate(images, jnp.asarray(offsets, jnp.float32), fill=-1.0), expected, atol=1e-6)


@pytest.mark.parametrize(("axis", "number"), [("horizontal", 2), ("vertical", 1)])
def test_flip_equals_numpy_and_twice_is_nothing(axis, number):
    images = normal(3, 4, 5, 2)
    where = np.array([True, False, True])
    y = augment.flip(images, where, axis=axis)
    np.testing.assert_array_equal(y[::2], np.flip(images, number)[::2])
    np.testing.assert_array_equal(y[1], images[1])
    np.testing.assert_array_equal(augment.flip(y, where, axis=axis), images)


@pytest.mark.parametrize("probability", [0.0, 0.2, 1.0])
def test_share_of_flipped_images(probability):
    flipped = np.asarray(draw(augment.random_flip, ramps(MANY, 1, 2), KEY, probability=probability))[:, 0, 0, 1] > 0
    deviation = np.sqrt(probability * (1 - probability) / MANY)
    assert abs(flipped.mean() - probability) <= 3 * deviation


def test_angles_are_uniform():
    y = draw(augment.random_rotation, ramps(MANY, 3, 3), KEY, degrees=(-20.0, 60.0))
    # What is seen right of the center was read at R(-a) (0, 1) = (sin a, cos a).
    angles = np.rad2deg(np.arctan2(y[:, 1, 2, 0], y[:, 1, 2, 1]))
    assert scipy.stats.kstest(angles, "uniform", args=(-20, 80)).pvalue > 0.01


def test_one_number_of_degrees_is_a_range_both_ways():
    images = ramps(MANY, 3, 3)
    np.testing.assert_array_equal(
        draw(augment.random_rotation, images, KEY, degrees=20.0),
        draw(augment.random_rotation, images, KEY, degrees=(-20.0, 20.0)),
    )


def test_logarithms_of_factors_are_uniform():
    y = draw(augment.random_scale, ramps(MANY, 5, 5), KEY, factor=(0.5, 2.0))
    factors = 1 / np.asarray(y)[:, 2, 3, 1]
    assert scipy.stats.kstest(np.log2(factors), "uniform", args=(-1, 2)).pvalue > 0.01


def test_offsets_are_whole_and_equally_likely():
    y = np.asarray(draw(augment.random_translation, ramps(MANY, 5, 7), KEY, pixels=(1, 2)))
    offsets = -y[:, 2, 3]
    values, counts = np.unique(offsets, axis=0, return_counts=True)
    assert {tuple(value) for value in values} == {(down, right) for down in (-1, 0, 1) for right in (-2, -1, 0, 1, 2)}
    assert scipy.stats.chisquare(counts).pvalue > 0.01


def test_random_affine_draws_each_part_by_itself():
    images = ramps(MANY, 21, 21)
    y = np.asarray(
        draw(augment.random_affine, images, KEY, degrees=30.0, factor=(0.8, 1.2), pixels=(2.0, 3.0)), np.float64
    )
    # The three pixels around the center give back the matrix of each image.
    b = y[:, 10, 10]
    matrix = np.stack([y[:, 11, 10] - b, y[:, 10, 11] - b], axis=-1)
    factors = 1 / np.sqrt(np.linalg.det(matrix))
    angles = np.rad2deg(np.arctan2(matrix[:, 0, 1], matrix[:, 0, 0]))
    offsets = -np.linalg.solve(matrix, b[..., None])[..., 0]
    low, high = np.log(0.8), np.log(1.2)
    for draws, start, width in [
        (np.log(factors), low, high - low),
        (angles, -30, 60),
        (offsets[:, 0], -2, 4),
        (offsets[:, 1], -3, 6),
    ]:
        assert scipy.stats.kstest(draws, "uniform", args=(start, width)).pvalue > 0.01
    correlations = np.corrcoef([factors, angles, offsets[:, 0], offsets[:, 1]]) - np.eye(4)
    assert np.abs(correlations).max() < 4 / np.sqrt(MANY)


def test_errors():
    images = jnp.ones((2, 4, 4, 1))
    with pytest.raises(ValueError, match=r"axis must be 'horizontal' or 'vertical', got 'diagonal'"):
        augment.flip(images, axis="diagonal")
    with pytest.raises(ValueError, match=r"random_rotation: degrees must be \(low, high\) with low <= high"):
        augment.random_rotation(images, key=KEY, degrees=(3.0, -3.0))
    with pytest.raises(ValueError, match=r"random_scale: factor must be .* got \(0.0, 1.0\)"):
        augment.random_scale(images, key=KEY, factor=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"random_scale: factor must be a pair"):
        augment.random_scale(images, key=KEY, factor=0.5)
    with pytest.raises(ValueError, match=r"pixels must be at least 0, got -1"):
        augment.random_translation(images, key=KEY, pixels=-1)
    with pytest.raises(ValueError, match=r"degrees must have shape \[\], or \[2\] with one for each image, got \[3\]"):
        augment.rotate(images, jnp.ones(3))


def test_a_probability_is_called_so():
    with pytest.raises(ValueError, match=r"probability is the share of images .* must be in \[0, 1\]"):
        augment.random_flip(ramps(1, 2, 2), key=KEY, probability=2)
