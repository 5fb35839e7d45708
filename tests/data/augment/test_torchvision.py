"""The forms with given parameters against torchvision, where it is installed; the other files need none."""

import importlib

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets.data import augment
from tests.torchvision_oracle import import_torchvision

functional = import_torchvision("torchvision.transforms.v2.functional")
IMAGES = np.random.default_rng(0).uniform(size=(2, 12, 12, 3)).astype(np.float32)


def theirs(function, *args, **kwargs):
    images = torch.tensor(IMAGES).permute(0, 3, 1, 2)
    return function(images, *args, **kwargs).permute(0, 2, 3, 1).numpy()


def test_flips():
    np.testing.assert_array_equal(augment.flip(IMAGES), theirs(functional.horizontal_flip))
    np.testing.assert_array_equal(augment.flip(IMAGES, axis="vertical"), theirs(functional.vertical_flip))


@pytest.mark.parametrize("degrees", [-100.0, 20.0, 90.0])
def test_rotate(degrees):
    expected = theirs(functional.rotate, degrees, interpolation=bilinear())
    np.testing.assert_allclose(augment.rotate(IMAGES, degrees), expected, atol=2e-5)


def test_affine():
    # torchvision turns clockwise, and translates (right, down).
    expected = theirs(
        functional.affine, angle=-25.0, translate=[2, -1], scale=1.3, shear=[0.0, 0.0], interpolation=bilinear()
    )
    matrix = augment.affine_matrix(degrees=25.0, factor=1.3, offsets=(-1.0, 2.0))
    np.testing.assert_allclose(augment.affine(IMAGES, matrix), expected, atol=2e-5)


def test_crop():
    expected = theirs(functional.crop, 3, 1, 5, 7)
    np.testing.assert_array_equal(augment.crop(IMAGES, (3, 1), (5, 7)), expected)


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.7])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colors(name, factor):
    ours = getattr(augment, f"adjust_{name}")(jnp.asarray(IMAGES), factor, clip=(0.0, 1.0))
    expected = theirs(getattr(functional, f"adjust_{name}"), factor)
    np.testing.assert_allclose(ours, expected, atol=2e-4)  # 0.2989 is torchvision's 0.299


def test_blur():
    expected = theirs(functional.gaussian_blur, kernel_size=[7, 7], sigma=[1.2, 1.2])
    np.testing.assert_allclose(augment.blur(IMAGES, 1.2, radius=3), expected, atol=1e-6)


def test_displacement():
    moves = np.random.default_rng(1).uniform(-2, 2, (12, 12, 2)).astype(np.float32)
    # torchvision: (right, down), in halves of the image's size.
    expected = theirs(functional.elastic, torch.tensor(moves[None, ..., ::-1] * 2 / 12), interpolation=bilinear())
    np.testing.assert_allclose(augment.displace(IMAGES, moves), expected, atol=2e-5)


def test_erase():
    expected = theirs(functional.erase, 2, 3, 4, 5, torch.zeros(3, 1, 1))
    np.testing.assert_array_equal(augment.erase(IMAGES, (2, 3, 6, 8)), expected)


def bilinear():
    return importlib.import_module("torchvision.transforms").InterpolationMode.BILINEAR
