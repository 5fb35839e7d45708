"""Crops against numpy, and where the random ones are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxnets.data import augment
from tests.data.augment.ramps import draw, ramps
from tests.oracles import normal

KEY = jax.random.key(5)


def test_each_image_has_its_own_corner():
    images = normal(2, 6, 7, 3)
    y = augment.crop(images, np.array([[1, 2], [3, 0]]), (3, 4))
    np.testing.assert_array_equal(y, [images[0, 1:4, 2:6], images[1, 3:6, 0:4]])


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_random_crops_are_windows_of_the_padded_image(mode):
    images = np.asarray(ramps(64, 4, 5))
    y = draw(augment.random_crop, images, KEY, padding=(2, 3), mode=mode, fill=(7.0, 8.0))
    if mode == "constant":
        channels = [np.pad(images[0, ..., i], ((2, 2), (3, 3)), constant_values=7 + i) for i in (0, 1)]
        padded = np.stack(channels, axis=-1)
    else:
        padded = np.pad(images[0], ((2, 2), (3, 3), (0, 0)), mode=mode)
    windows = {padded[i : i + 4, j : j + 5].tobytes() for i in range(5) for j in range(7)}
    found = {window.tobytes() for window in np.asarray(y)}
    assert found <= windows
    assert len(found) > 20


def test_every_place_is_as_likely():
    y = np.asarray(draw(augment.random_crop, ramps(2000, 4, 5), KEY, size=(2, 3)))
    _, counts = np.unique(y[:, 0, 0], axis=0, return_counts=True)
    assert len(counts) == 9
    assert scipy.stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize(
    ("corner", "expected"), [((-1, -1), (0, 0)), ((5, 9), (2, 2)), ((-3, 1), (0, 1)), ((1, 2), (1, 2))]
)
def test_windows_that_would_leave_the_image_are_moved_inside(corner, expected):
    images = np.asarray(ramps(2, 4, 5))
    row, column = expected
    np.testing.assert_array_equal(
        augment.crop(jnp.asarray(images), corner, (2, 3)), images[:, row : row + 2, column : column + 3]
    )


def test_errors():
    images = jnp.ones((2, 4, 4, 1))
    with pytest.raises(ValueError, match=r"crop: a window \(5, 5\) does not fit into images \[2, 4, 4, 1\]"):
        augment.crop(images, (0, 0), 5)
    with pytest.raises(ValueError, match=r"random_crop: a window \(7, 7\) does not fit .* with padding=1"):
        augment.random_crop(images, key=KEY, size=7, padding=1)
    with pytest.raises(ValueError, match=r"padding must be at least 0"):
        augment.random_crop(images, key=KEY, padding=-1)
    with pytest.raises(ValueError, match=r"mode must be 'constant', 'reflect' or 'edge', got 'wrap'"):
        augment.random_crop(images, key=KEY, padding=1, mode="wrap")
