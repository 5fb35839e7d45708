"""The gradient of a convolution's kernel in each of its forms, some images at a time too, against `jax.lax`."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.kernels import kernel_gradient as forms
from jaxnets.nn.window import Geometry
from tests.forms import needs_cpu
from tests.kernels.test_convolution import lax_convolve
from tests.oracles import assert_close, normal

pytestmark = needs_cpu
CASES = {
    "depthwise": ("_sums_by_channel", (8, 6, 5, 3), (3, 2), (1, 1), 3, 3),
    "depthwise, stride, two outputs per channel": ("_sums_by_channel", (6, 6, 5, 3), (3, 2), (2, 1), 3, 6),
    "one axis": ("_products_by_tap", (6, 9, 3), (4,), (2,), 1, 2),
    "few images": ("_by_moves", (6, 6, 5, 2), (3, 2), (1, 1), 1, 4),
    "few images in three dimensions": ("_by_moves", (4, 4, 3, 5, 2), (3, 2, 2), (1, 1, 1), 1, 3),
    "few channels of the result": ("_by_moves", (12, 6, 5, 4), (3, 2), (1, 1), 1, 2),
    "stride": ("_by_patches", (12, 6, 5, 2), (3, 2), (2, 1), 1, 4),
}


def expected(x, dy, kernel_shape, geometry):
    kernel = jax.ShapeDtypeStruct(kernel_shape, x.dtype)
    return jax.linear_transpose(lambda kernel: lax_convolve(x, kernel, geometry), kernel)(dy)[0]


def arrays(shape, kernel_size, stride, groups, out):
    rank = len(kernel_size)
    geometry = Geometry(stride, ((1, 0), (0, 2), (1, 1))[:rank], (1,) * rank, (1,) * rank, groups)
    positions = geometry.output_sizes(shape[1:-1], kernel_size)
    dy = normal(shape[0], *positions, out, seed=1)
    return normal(*shape), dy, (*kernel_size, shape[-1] // groups, out), geometry


@pytest.fixture
def small_cache(monkeypatch):
    """A cache that has room for two images; returns the names of forms and their numbers of images."""
    calls = []
    monkeypatch.setattr(forms, "_images_at_once", lambda x, numbers, most: 2)
    for name in ("_sums_by_channel", "_products_by_tap", "_by_moves", "_by_patches"):
        form = getattr(forms, name)

        @functools.wraps(form)
        def noted(*arguments, form=form, name=name):
            calls.append((name, len(arguments[-4])))
            return form(*arguments)

        monkeypatch.setattr(forms, name, noted)
    return calls


@pytest.mark.parametrize("name", CASES)
def test_sums_over_parts_of_a_batch_equal_lax_and_so_do_their_derivatives(small_cache, name):
    form, *settings = CASES[name]
    x, dy, kernel_shape, geometry = arrays(*settings)
    wanted = functools.partial(expected, kernel_shape=kernel_shape, geometry=geometry)
    ours = functools.partial(forms.kernel_gradient, kernel_shape=kernel_shape, geometry=geometry)
    assert_close(ours(x, dy), wanted(x, dy), rtol=1e-5, atol=1e-5)
    assert set(small_cache) == {(form, 2)}
    moved = normal(*x.shape, seed=2), normal(*dy.shape, seed=3)
    for transformed in (
        lambda f: jax.jvp(f, (x, dy), moved),
        lambda f: jax.vjp(f, x, dy)[1](normal(*kernel_shape, seed=4)),
        lambda f: jax.vmap(f)(jnp.stack([x, moved[0]]), jnp.stack([dy, moved[1]])),
    ):
        assert_close(transformed(ours), transformed(wanted), rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("batch", "numbers", "most", "devices", "at_once"),
    [
        (64, 6400, 800, 1, 8),
        (64, 6400, 900, 1, 8),  # nine is no divisor
        (64, 6400, 6400, 1, 64),
        (64, 6400, 50, 1, 1),  # not even one image fits
        (61, 6100, 1000, 1, 61),  # a prime number: one image at a time would be far fewer than fit
        (61, 6100, 300, 1, 1),
        (64, 6400, 800, 2, 64),  # devices may divide the batch
        (0, 0, 800, 1, 0),
    ],
)
def test_images_at_once_divide_the_batch_and_fit_in_the_cache(monkeypatch, batch, numbers, most, devices, at_once):
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    assert forms._images_at_once(np.zeros((batch, 2, 2, 1)), numbers, most) == at_once


def test_bfloat16_is_added_in_float32_over_parts(small_cache):
    """Eight times 162 ones for each tap; in bfloat16 the sum of the parts would be 1,288."""
    x, dy = jnp.ones((16, 18, 9, 4), jnp.bfloat16), jnp.ones((16, 9, 9, 4), jnp.bfloat16)
    geometry = Geometry((2, 1), ((0, 0), (0, 0)), (1, 1), (1, 1), 4)
    gradient = forms.kernel_gradient(x, dy, (2, 1, 1, 4), geometry)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.asarray(gradient, np.float32), np.full((2, 1, 1, 4), 1296.0))


@pytest.mark.parametrize("name", ["depthwise", "one axis", "few channels of the result"])
def test_gradients_are_exported_for_a_batch_of_unknown_size(name):
    x, dy, kernel_shape, geometry = arrays(*CASES[name][1:])
    gradient = functools.partial(forms.kernel_gradient, kernel_shape=kernel_shape, geometry=geometry)
    (batch,) = jax.export.symbolic_shape("batch")
    shapes = [jax.ShapeDtypeStruct((batch, *array.shape[1:]), array.dtype) for array in (x, dy)]
    exported = jax.export.export(jax.jit(gradient))(*shapes)
    assert_close(exported.call(x, dy), expected(x, dy, kernel_shape, geometry), rtol=1e-5, atol=1e-5)
