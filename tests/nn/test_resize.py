"""Resizing and shuffling of pixels against PyTorch, and where it has no such form, against exact fractions."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import nn
from tests.oracles import normal

SIZES = [((4, 5), (8, 10)), ((4, 5), (7, 13)), ((6, 4), (3, 3)), ((5, 3), (1, 4)), ((1, 2), (4, 1))]


def in_torch(x, size, mode, **settings):
    grid = torch.tensor(np.moveaxis(x, -1, 1), requires_grad=True)
    return grid, torch.nn.functional.interpolate(grid, size=size, mode=mode, **settings)


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize(
    ("mode", "settings", "ours"),
    [
        ("nearest", {}, {"coordinates": "asymmetric"}),
        ("nearest-exact", {}, {}),
        ("bilinear", {"align_corners": False}, {"method": "bilinear"}),
        ("bilinear", {"align_corners": True}, {"method": "bilinear", "coordinates": "align_corners"}),
    ],
)
def test_values_and_gradients_are_those_of_pytorch(before, after, mode, settings, ours):
    x = normal(2, *before, 3)
    grid, expected = in_torch(x, after, mode, **settings)
    direction = normal(*expected.shape)
    expected.backward(torch.tensor(direction))

    def run(x):
        y = nn.resize(x, after, **ours)
        return jnp.vdot(y, np.moveaxis(direction, 1, -1)), y

    gradient, y = jax.grad(run, has_aux=True)(x)
    np.testing.assert_allclose(y, np.moveaxis(expected.detach().numpy(), 1, -1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, np.moveaxis(grid.grad.numpy(), 1, -1), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_one_spatial_axis(mode):
    x = normal(2, 5, 3)
    _, expected = in_torch(x, 15, mode)
    y = nn.upsample(x, 3, spatial=1, method="bilinear" if mode == "linear" else mode)
    np.testing.assert_allclose(y, np.moveaxis(expected.detach().numpy(), 1, -1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners"])
@pytest.mark.parametrize(("size", "out"), [(3, 7), (7, 3), (4, 8), (5, 5), (3, 1)])
def test_positions_are_those_that_the_docstring_says(coordinates, size, out):
    """A ramp shows from where each entry comes."""
    half = Fraction(1, 2)
    for o in range(out):
        position = {
            "half_pixel": (o + half) * Fraction(size, out) - half,
            "asymmetric": o * Fraction(size, out),
            "align_corners": o * Fraction(size - 1, max(out - 1, 1)),
        }[coordinates]
        inside = min(max(position, Fraction(0)), Fraction(size - 1))
        nearest = {"half_pixel": position + half, "asymmetric": position, "align_corners": position + half}[coordinates]
        ramp = jnp.arange(size, dtype=jnp.float32)[:, None]
        linear = nn.resize(ramp, (out,), method="bilinear", coordinates=coordinates)
        np.testing.assert_allclose(linear[o, 0], float(inside), rtol=1e-6, atol=1e-6)
        assert nn.resize(ramp, (out,), coordinates=coordinates)[o, 0] == nearest.__floor__()


@pytest.mark.parametrize("method", ["nearest", "bilinear"])
def test_infinity_reaches_its_neighbors_only(method):
    x = jnp.array([1.0, 2.0, 3.0, jnp.inf])[:, None]
    y = np.asarray(nn.upsample(x, 2, spatial=1, method=method))[:, 0]
    assert np.isfinite(y[:5]).all()
    assert y[-1] == np.inf


def test_half_precision_is_rounded_once():
    x = jnp.asarray(normal(1, 5, 5, 2), jnp.bfloat16)
    y = nn.resize(x, (12, 5), method="bilinear")
    expected = nn.resize(x.astype(jnp.float32), (12, 5), method="bilinear").astype(jnp.bfloat16)
    np.testing.assert_array_equal(y.astype(jnp.float32), expected.astype(jnp.float32))


def test_pixels_are_shuffled_as_in_pytorch():
    x = normal(2, 3, 4, 18)
    grid = torch.tensor(np.moveaxis(x, -1, 1))
    shuffled = nn.pixel_shuffle(x, 3)
    np.testing.assert_array_equal(shuffled, np.moveaxis(torch.pixel_shuffle(grid, 3).numpy(), 1, -1))
    np.testing.assert_array_equal(nn.pixel_unshuffle(shuffled, 3), x)
    other = torch.tensor(np.moveaxis(normal(2, 6, 4, 3), -1, 1))
    expected = np.moveaxis(torch.pixel_unshuffle(other, 2).numpy(), 1, -1)
    np.testing.assert_array_equal(nn.pixel_unshuffle(jnp.asarray(normal(2, 6, 4, 3)), 2), expected)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda x: nn.resize(x, (4, 4), method="cubic"), ValueError, "resize: method must be one of .*got 'cubic'"),
        (lambda x: nn.resize(x, (4, 4), coordinates="corners"), ValueError, "coordinates must be one of"),
        (lambda x: nn.resize(x, (4, 0)), ValueError, "size must hold positive numbers"),
        (lambda x: nn.resize(x, (4.5, 4)), TypeError, "size must hold whole numbers"),
        (lambda x: nn.resize(x, (2, 2, 2, 2)), ValueError, "with 4 spatial axes, got"),
        (lambda x: nn.upsample(x, 0), ValueError, "upsample: factor must hold positive numbers"),
        (lambda x: nn.upsample(x, 2, spatial=4), ValueError, "upsample: x must be"),
        (lambda x: nn.resize(x.astype(int), (4, 4)), TypeError, "must be floating point"),
        (lambda x: nn.resize(x[:, :0], (4, 4)), ValueError, "must have entries"),
        (lambda x: nn.pixel_shuffle(x, 2), ValueError, r"channels a multiple of 2\^2, got \[1, 3, 4, 2\]"),
        (lambda x: nn.pixel_unshuffle(x, 2), ValueError, r"multiples of 2, got \[1, 3, 4, 2\]"),
    ],
)
def test_wrong_arguments_are_errors(run, error, message):
    with pytest.raises(error, match=message):
        run(jnp.ones((1, 3, 4, 2)))
