"""The affine sampler against PyTorch's grid_sample and scipy, values and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings, strategies as st

from jaxnets.data import augment
from tests.oracles import normal
from tests.torch_oracle import assert_parity


def torch_sample(images, rows, columns, mode="bilinear"):
    height, width = images.shape[1:3]
    grid = torch.stack([2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1], dim=-1)
    sampled = torch.nn.functional.grid_sample(images.permute(0, 3, 1, 2), grid, mode=mode, align_corners=True)
    return sampled.permute(0, 2, 3, 1)


def positions(batch, height, width, seed=0):
    """Positions inside and outside, none so near to a pixel's center that the side decides about the gradient."""
    generator = np.random.default_rng(seed)
    shape = (batch, 4, 5)
    whole = (generator.integers(-3, size + 3, shape) for size in (height, width))
    return [(start + generator.uniform(0.1, 0.9, shape)).astype(np.float32) for start in whole]


def test_bilinear_values_and_gradients_equal_grid_sample():
    rows, columns = positions(3, 6, 5)
    assert_parity(augment.sample_at, torch_sample, normal(3, 6, 5, 2), rows, columns)


def test_nearest_equals_grid_sample():
    rows, columns = positions(3, 6, 5)
    images = normal(3, 6, 5, 2)
    expected = torch_sample(*map(torch.tensor, (images, rows, columns)), mode="nearest")
    np.testing.assert_array_equal(augment.sample_at(images, rows, columns, method="nearest"), expected)


@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    fill=st.floats(-2, 2, width=32),
    entries=st.lists(st.floats(-2, 2, width=32), min_size=6, max_size=6),
)
def test_affine_equals_scipy(fill, entries):
    images = normal(1, 5, 7, 1)
    matrix = np.array(entries, np.float32).reshape(2, 3)
    center = np.array([2.0, 3.0])
    expected = scipy.ndimage.affine_transform(
        images[0, ..., 0].astype(np.float64),
        matrix[:, :2],
        offset=matrix[:, 2] + center - matrix[:, :2] @ center,
        order=1,
        mode="grid-constant",
        cval=fill,
    )
    actual = jax.jit(augment.affine)(images, matrix, fill=jnp.float32(fill))[0, ..., 0]
    np.testing.assert_allclose(actual, expected, atol=2e-5)


def test_each_image_has_its_own_matrix_and_each_channel_its_own_fill():
    images = normal(2, 3, 3, 2)
    away = jnp.array([[1.0, 0, 9], [0, 1, 0]])
    stay = jnp.array([[1.0, 0, 0], [0, 1, 0]])
    y = jax.jit(augment.affine)(images, jnp.stack([away, stay]), fill=(5.0, 6.0))
    np.testing.assert_array_equal(y[0], np.broadcast_to([5.0, 6.0], (3, 3, 2)))
    np.testing.assert_array_equal(y[1], images[1])


def test_positions_far_outside_and_on_the_last_pixel():
    images = normal(1, 2, 2, 1)
    rows = jnp.array([[[1.0, 1e30, -1e30, 2.0, -1.0]]])
    y = augment.sample_at(images, rows, jnp.ones((1, 1, 5)), fill=7.0)
    np.testing.assert_array_equal(y.ravel(), [images[0, 1, 1, 0], 7, 7, 7, 7])


def test_matrices_of_scale_rotation_and_translation_follow_each_other():
    degrees, factor, offsets = 30.0, 1.5, np.array([2.0, -1.0])
    matrix = np.asarray(augment.affine_matrix(degrees=degrees, factor=factor, offsets=offsets))
    a = np.deg2rad(degrees)
    # Of a point (down, right) in a frame whose rows grow downwards: counter-clockwise takes right to up.
    rotation = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
    point = np.array([0.7, 3.1])
    moved = rotation @ point * factor + offsets
    np.testing.assert_allclose(matrix[:, :2] @ moved + matrix[:, 2], point, rtol=1e-5)


@pytest.mark.parametrize("degrees", [-450, -90, 0, 90, 180, 270, 720])
def test_quarter_turns_are_exact(degrees):
    matrix = augment.affine_matrix(degrees=degrees)
    assert set(np.abs(matrix).ravel().tolist()) == {0.0, 1.0}


def test_errors():
    images, rows = jnp.ones((2, 4, 4, 1)), jnp.ones((2, 3, 3))
    with pytest.raises(ValueError, match=r"matrices must have shape \[2, 3\], or \[2, 2, 3\].*got \[3, 2, 3\]"):
        augment.affine(images, jnp.ones((3, 2, 3)))
    with pytest.raises(ValueError, match=r"method must be 'bilinear' or 'nearest', got 'cubic'"):
        augment.sample_at(images, rows, rows, method="cubic")
    with pytest.raises(ValueError, match=r"fill must be one number, or one for each of 1 channels, got \[2\]"):
        augment.sample_at(images, rows, rows, fill=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"rows and columns must be \[2, new_height, new_width\]"):
        augment.sample_at(images, jnp.ones((1, 2, 2)), jnp.ones((1, 2, 2)))
