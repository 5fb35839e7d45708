"""oneDNN's convolution equals plain `lax` under every transformation, and is called only where it can be."""

import functools

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import nn
from jaxnets.backend import plain_forms
from jaxnets.kernels import onednn
from jaxnets.kernels.onednn import onednn_available
from jaxnets.nn.convolve import convolve
from tests.forms import needs_cpu
from tests.kernels.test_convolution import SETTINGS, geometry_and_arrays, lax_convolve, transposes
from tests.oracles import assert_close, normal
from tests.transformations import transformed

TARGET = "__onednn$convolution"
pytestmark = [
    needs_cpu,
    pytest.mark.skipif(not onednn_available(), reason="the installed jaxlib has no oneDNN that we know"),
]


@pytest.fixture(autouse=True)
def call_it_for_small_convolutions_too(monkeypatch):
    monkeypatch.setattr(onednn, "_FEWEST", 0)


@pytest.fixture(autouse=True)
def _without_the_package_that_convolves_by_itself(enter):
    enter(plain_forms("jaxnets_cpu"))


def quick(name):
    return name if name in ("dense", "nine-groups") else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [quick(name) for name in SETTINGS])
def test_every_transformation_by_onednn_equals_lax(name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name])
    arrays = (x, kernel, normal(*x.shape, seed=3), normal(*kernel.shape, seed=4), y)
    ours, theirs = (
        jax.jit(functools.partial(transformed, functools.partial(form, geometry=geometry)))
        for form in (convolve, lax_convolve)
    )
    if name in ("dense", "untouched-rows", "dilated", "1-d"):
        assert TARGET in ours.lower(*arrays).as_text()
    # sums over 72 taps in another order differ by rounding, which three steps of training in the scan enlarge
    assert_close(ours(*arrays), theirs(*arrays), rtol=1e-4, atol=1e-3 if name == "depthwise-large-window" else 2e-4)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("sizes", [(7, 7), (7, 1), (5,)])
def test_a_kernel_as_large_as_the_image_gives_the_product_of_both(sizes, channels):
    x, kernel = normal(8, *sizes, 16), normal(*sizes, 16, channels, seed=1)
    expected = x.reshape(8, -1).astype(float) @ kernel.reshape(-1, channels).astype(float)
    y = jax.jit(lambda x, kernel: nn.conv({"kernel": kernel}, x, padding="VALID"))(x, kernel)
    np.testing.assert_allclose(y.reshape(8, channels), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["dense", "dilated", "two-groups"])
def test_transposed_convolution_by_onednn_equals_lax(name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name])

    def gradients(function):
        return jax.jit(jax.grad(lambda y, kernel: jnp.vdot(x, jnp.sin(function(y, kernel))), (0, 1)))

    ours, theirs = (gradients(form)(y, kernel) for form in transposes(geometry, x))
    assert_close(ours, theirs, atol=1e-4)


def test_gradients_outside_of_jit_equal_lax():
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS["dense"])

    def gradients(function):
        return jax.value_and_grad(lambda x, kernel: jnp.vdot(y, jnp.sin(function(x, kernel, geometry))), (0, 1))

    assert_close(gradients(convolve)(x, kernel), gradients(lax_convolve)(x, kernel), atol=1e-4)


def loss(x, kernel, y, geometry):
    return jnp.vdot(y, jnp.sin(convolve(x, kernel, geometry)))


def test_values_and_gradients_can_be_exported_because_they_are_lowered_without_onednn():
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS["dense"])
    gradients = jax.jit(jax.value_and_grad(functools.partial(loss, geometry=geometry), (0, 1)))
    assert TARGET in gradients.lower(x, kernel, y).as_text()
    exported = jax.export.export(gradients)(x, kernel, y)
    assert TARGET not in exported.mlir_module()
    again = jax.export.deserialize(exported.serialize())
    assert_close(again.call(x, kernel, y), gradients(x, kernel, y), rtol=1e-4, atol=1e-4)


def test_what_is_lowered_depends_on_the_devices_and_the_cache_of_the_program_alone(tmp_path):
    """A traced function may be compiled for other devices later: the program chooses, not the trace."""
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS["dense"], batch=4)
    gradients = jax.jit(jax.grad(functools.partial(loss, geometry=geometry), (0, 1)))
    expected = gradients(x, kernel, y)
    assert TARGET in gradients.lower(x, kernel, y).as_text()
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    arrays = jax.device_put(x, split), jax.device_put(kernel, whole), jax.device_put(y, split)
    assert TARGET not in gradients.lower(*arrays).as_text()
    assert_close(gradients(*arrays), expected, rtol=1e-4, atol=1e-4)
    jax.clear_caches()
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    try:
        assert TARGET not in gradients.lower(x, kernel, y).as_text()
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
        jax.clear_caches()


@pytest.mark.parametrize(
    "left_out", ["half precision", "no entries", "cropped", "dilated input", "few multiplications", "switched off"]
)
def test_onednn_is_left_out_for_what_it_does_not_compute_and_where_it_is_switched_off(enter, left_out, monkeypatch):
    geometry, x, kernel, _ = geometry_and_arrays(*SETTINGS["dense"])
    if left_out == "half precision":
        x, kernel = jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16)
    elif left_out == "no entries":
        x = x[:0]
    elif left_out == "cropped":
        geometry = geometry._replace(padding=((1, 1), (1, -1)))
    elif left_out == "dilated input":
        geometry = geometry._replace(input_dilation=(1, 2))
    elif left_out == "few multiplications":
        monkeypatch.setattr(onednn, "_FEWEST", 2**17)
    else:
        enter(plain_forms("jaxnets_cpu,onednn"))
    program = jax.jit(functools.partial(convolve, geometry=geometry)).lower(x, kernel).as_text()
    assert TARGET not in program


def test_an_unknown_jaxlib_is_not_called(monkeypatch):
    monkeypatch.setattr(onednn, "version", lambda package: "99.0.1")
    onednn_available.cache_clear()
    try:
        assert not onednn_available()
    finally:
        onednn_available.cache_clear()
