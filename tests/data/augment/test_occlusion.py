"""Cutout against numpy, and where its boxes are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from jaxnets.data import augment
from tests.data.augment.ramps import draw
from tests.oracles import normal

KEY = jax.random.key(4)


def test_each_image_has_its_own_box():
    images = normal(2, 5, 6, 2)
    boxes = np.array([[1, 2, 4, 5], [-3, 4, 2, 99]])
    expected = images.copy()
    expected[0, 1:4, 2:5] = (3.0, 4.0)
    expected[1, :2, 4:] = (3.0, 4.0)
    np.testing.assert_array_equal(augment.erase(images, boxes, fill=(3.0, 4.0)), expected)


@pytest.mark.parametrize("size", [(3, 4), 2])
def test_centers_are_every_pixel_with_the_same_probability(size):
    height, width = 6, 5
    covered = np.asarray(draw(augment.cutout, jnp.ones((3000, height, width, 1)), KEY, size=size))[..., 0] == 0
    box_height, box_width = size if isinstance(size, tuple) else (size, size)
    expected = {}
    for row in range(height):
        for column in range(width):
            mask = np.zeros((height, width), bool)
            top, left = row - box_height // 2, column - box_width // 2
            mask[max(top, 0) : top + box_height, max(left, 0) : left + box_width] = True
            expected[mask.tobytes()] = expected.get(mask.tobytes(), 0) + 1
    found = dict.fromkeys(expected, 0)
    for mask in covered:
        found[mask.tobytes()] += 1
    frequencies = np.array(list(expected.values())) * 3000 / (height * width)
    assert scipy.stats.chisquare(list(found.values()), frequencies).pvalue > 0.01


def test_errors():
    images = jnp.ones((1, 4, 4, 3))
    with pytest.raises(ValueError, match=r"cutout: size must be at least 1, got 0"):
        augment.cutout(images, key=KEY, size=0)
    with pytest.raises(ValueError, match=r"erase: fill must be one number, or one for each channel, got \[2\]"):
        augment.erase(images, (0, 0, 1, 1), fill=(1.0, 2.0))
    with pytest.raises(ValueError, match=r"boxes must have shape \[4\]"):
        augment.erase(images, (0, 0, 1))
