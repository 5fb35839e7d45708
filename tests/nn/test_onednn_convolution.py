"""oneDNN's convolution equals plain `lax` under every transformation, and is called only where it can be."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.nn import onednn_convolution
from jaxnets.nn.convolution_gradient import convolve, convolve_transpose
from jaxnets.nn.convolution_primitive import bind_convolution
from jaxnets.nn.onednn_convolution import can_call_onednn, onednn_available
from tests.forms import switch_off
from tests.nn.test_convolution_gradient import SETTINGS, geometry_and_arrays, lax_convolve, lax_convolve_transpose
from tests.oracles import assert_close, normal
from tests.transformations import transformed

TARGET = "__onednn$convolution"


@pytest.fixture
def one_device(monkeypatch):
    """As in a process with one CPU device and no compilation cache."""
    monkeypatch.setattr(onednn_convolution, "_one_device_without_cache", lambda: True)
    jax.clear_caches()
    yield
    jax.clear_caches()


needs_onednn = pytest.mark.skipif(not onednn_available(), reason="the installed jaxlib has no oneDNN that we know")


def quick(name):
    return name if name in ("dense", "nine-groups") else pytest.param(name, marks=pytest.mark.slow)


@needs_onednn
@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize("name", [quick(name) for name in SETTINGS])
def test_every_transformation_by_onednn_equals_lax(name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name])
    arrays = (x, kernel, normal(*x.shape, seed=3), normal(*kernel.shape, seed=4), y)
    ours, theirs = (
        jax.jit(functools.partial(transformed, functools.partial(form, geometry=geometry)))
        for form in (convolve, lax_convolve)
    )
    if name in ("dense", "untouched-rows", "dilated", "nine-groups", "1-d"):
        assert TARGET in ours.lower(*arrays).as_text()
    # sums over 72 taps in another order differ by rounding, which three steps of training in the scan enlarge
    assert_close(ours(*arrays), theirs(*arrays), rtol=1e-4, atol=1e-3 if name == "depthwise-large-window" else 2e-4)


@needs_onednn
@pytest.mark.usefixtures("one_device")
@pytest.mark.parametrize("name", ["dense", "dilated", "two-groups"])
def test_transposed_convolution_by_onednn_equals_lax(name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name])

    def gradients(function):
        return jax.jit(jax.grad(lambda y, kernel: jnp.vdot(x, jnp.sin(function(y, kernel, geometry))), (0, 1)))

    assert_close(gradients(convolve_transpose)(y, kernel), gradients(lax_convolve_transpose)(y, kernel), atol=1e-4)


@needs_onednn
@pytest.mark.usefixtures("one_device")
def test_gradients_outside_of_jit_equal_lax():
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS["dense"])

    def gradients(function):
        return jax.value_and_grad(lambda x, kernel: jnp.vdot(y, jnp.sin(function(x, kernel, geometry))), (0, 1))

    assert_close(gradients(convolve)(x, kernel), gradients(lax_convolve)(x, kernel), atol=1e-4)


@needs_onednn
@pytest.mark.usefixtures("one_device")
def test_a_network_that_is_only_evaluated_has_no_call_of_onednn_so_that_it_can_be_exported():
    geometry, x, kernel, _ = geometry_and_arrays(*SETTINGS["dense"])
    forward = jax.jit(lambda x, kernel: convolve(x, kernel, geometry))
    assert TARGET not in forward.lower(x, kernel).as_text()
    exported = jax.export.export(forward)(x, kernel).serialize()
    assert_close(jax.export.deserialize(exported).call(x, kernel), lax_convolve(x, kernel, geometry), atol=1e-5)


@needs_onednn
@pytest.mark.usefixtures("one_device")
def test_onednn_is_left_out_for_what_it_does_not_compute_and_where_it_is_switched_off(monkeypatch):
    geometry, x, kernel, _ = geometry_and_arrays(*SETTINGS["dense"])
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    assert can_call_onednn(x, kernel, geometry)
    half = x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)
    assert not can_call_onednn(*half, geometry)
    assert not can_call_onednn(x[:0], kernel, geometry)
    assert not can_call_onednn(x, kernel, geometry._replace(padding=((1, 1), (-1, 1))))
    switch_off(monkeypatch, "onednn")
    assert not can_call_onednn(x, kernel, geometry)


def test_onednn_is_left_out_on_several_devices_with_a_cache_and_with_an_unknown_jaxlib(monkeypatch, tmp_path):
    assert len(jax.devices()) > 1
    assert not onednn_convolution._one_device_without_cache()
    monkeypatch.setattr(jax, "device_count", lambda backend: 1)
    assert onednn_convolution._one_device_without_cache()
    jax.config.update("jax_compilation_cache_dir", str(tmp_path))
    try:
        assert not onednn_convolution._one_device_without_cache()
    finally:
        jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setattr(onednn_convolution, "version", lambda package: "99.0.1")
    onednn_available.cache_clear()
    try:
        assert not onednn_available()
    finally:
        onednn_available.cache_clear()


@pytest.mark.parametrize("form", ["lax", "slices"])
def test_every_form_of_the_primitive_computes_the_same(form):
    geometry, x, kernel, _ = geometry_and_arrays(*SETTINGS["depthwise"])
    found = np.asarray(bind_convolution(x, kernel, geometry, form))
    assert_close(found, lax_convolve(x, kernel, geometry), atol=1e-5)
