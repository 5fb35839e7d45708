"""The fast convolution equals plain `lax` under every transformation, and keeps XLA's fast layout inside loops."""

import functools
import re

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxnets.backend import plain_forms
from jaxnets.devices import vary_like
from jaxnets.nn.convolve import convolve
from jaxnets.nn.window import Geometry, transposed_kernel
from tests.forms import needs_cpu
from tests.oracles import assert_close, normal
from tests.transformations import transformed

pytestmark = needs_cpu


def lax_convolve(x, kernel, geometry):
    axes = "DHW"[-len(geometry.stride) :]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        geometry.stride,
        geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=geometry.groups,
    )


def transposes(geometry, x):
    """The transposes of the convolution whose input is like `x`, ours and that of lax: functions of (y, kernel)."""

    def ours(y, kernel):
        transpose = geometry.transposed(x.shape[1:-1], kernel.shape[:-2])
        return convolve(y, transposed_kernel(kernel, geometry.groups), transpose)

    def theirs(y, kernel):
        inputs = jax.ShapeDtypeStruct((y.shape[0], *x.shape[1:]), y.dtype)
        return jax.linear_transpose(lambda x: lax_convolve(x, kernel, geometry), inputs)(y)[0]

    return ours, theirs


def geometry_and_arrays(sizes, kernel_size, stride, padding, dilation, groups, fan_in, out, batch=8):
    geometry = Geometry(stride, padding, dilation, (1,) * len(sizes), groups)
    x = normal(batch, *sizes, groups * fan_in)
    kernel = normal(*kernel_size, fan_in, groups * out, seed=1)
    y = normal(batch, *geometry.output_sizes(sizes, kernel_size), groups * out, seed=2)
    return geometry, x, kernel, y


SETTINGS = {
    "dense": ((5, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, 2, 3),
    "untouched-rows": ((7, 7), (4, 3), (2, 3), ((0, 0), (0, 0)), (1, 1), 1, 2, 3),
    "strided": ((6, 7), (3, 2), (2, 3), ((0, 0), (1, 0)), (1, 1), 1, 2, 3),
    "dense-few-images": ((5, 6), (3, 2), (1, 1), ((1, 2), (0, 1)), (1, 1), 1, 2, 3, 5),
    "few-images": ((5, 6), (3, 2), (2, 1), ((1, 1), (0, 1)), (1, 2), 1, 3, 2, 2),
    "dilated": ((7, 6), (3, 2), (1, 1), ((2, 1), (0, 1)), (2, 3), 1, 2, 3),
    "more-padding-than-window": ((4, 3), (2, 2), (2, 1), ((3, 2), (0, 4)), (1, 1), 1, 3, 2),
    "few-channels": ((4, 5), (2, 2), (1, 2), ((0, 1), (1, 0)), (1, 1), 1, 1, 5),
    "1x1": ((4, 5), (1, 1), (2, 1), ((1, 0), (0, 0)), (1, 1), 1, 3, 2),
    "two-groups": ((5, 4), (3, 2), (2, 1), ((1, 1), (0, 0)), (1, 2), 2, 2, 2),
    "nine-groups": ((4, 4), (2, 2), (2, 1), ((0, 0), (1, 0)), (1, 1), 9, 2, 1),
    "depthwise": ((5, 6), (3, 2), (2, 1), ((1, 0), (0, 1)), (1, 2), 3, 1, 1),
    "depthwise-multiplied": ((4, 5), (2, 2), (1, 1), ((0, 0), (1, 0)), (1, 1), 3, 1, 2),
    "depthwise-large-window": ((9, 9), (9, 8), (1, 1), ((4, 4), (4, 3)), (1, 1), 2, 1, 1, 2),
    "1-d": ((9,), (3,), (2,), ((0, 1),), (2,), 1, 3, 2),
    "3-d": ((4, 3, 5), (2, 2, 3), (2, 1, 2), ((1, 0), (0, 1), (1, 1)), (1, 2, 1), 1, 2, 2),
    "3-d-two-groups": ((3, 4, 3), (2, 2, 2), (1, 2, 1), ((0, 0),) * 3, (1, 1, 1), 2, 2, 1),
}


def quick(name):
    """The others compile for long; `make test-slow` runs them."""
    return (
        name
        if name in ("dense", "dense-few-images", "untouched-rows", "depthwise")
        else pytest.param(name, marks=pytest.mark.slow)
    )


@pytest.mark.parametrize("name", [quick(name) for name in SETTINGS])
def test_every_transformation_of_convolve_equals_lax(name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name])
    arrays = (x, kernel, normal(*x.shape, seed=3), normal(*kernel.shape, seed=4), y)
    actual, expected = (
        jax.jit(functools.partial(transformed, functools.partial(form, geometry=geometry)))(*arrays)
        for form in (convolve, lax_convolve)
    )
    # sums over 72 taps in another order differ by rounding, which three steps of training in the scan enlarge
    assert_close(actual, expected, rtol=1e-4, atol=1e-3 if name == "depthwise-large-window" else 2e-4)


SOME = ["untouched-rows", "dense", "dilated", "two-groups", "nine-groups", "1-d", "3-d"]


@pytest.mark.parametrize("name", [quick(name) for name in [*SOME, "depthwise", "depthwise-multiplied"]])
def test_every_transformation_of_the_transpose_equals_lax(name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name])
    arrays = (y, kernel, normal(*y.shape, seed=3), normal(*kernel.shape, seed=4), x)
    actual, expected = (jax.jit(functools.partial(transformed, form))(*arrays) for form in transposes(geometry, x))
    assert_close(actual, expected, rtol=1e-4, atol=2e-4)


@st.composite
def arguments(draw):
    rank = draw(st.integers(1, 3))
    axis = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(0, 2))
    window, stride, dilation, before, after = zip(*draw(st.lists(axis, min_size=rank, max_size=rank)), strict=True)
    sizes = tuple(
        max(1, (w - 1) * d + 1 - b - a) + draw(st.integers(0, 3))
        for w, d, b, a in zip(window, dilation, before, after, strict=True)
    )
    padding = tuple(zip(before, after, strict=True))
    return sizes, window, stride, padding, dilation, draw(st.integers(1, 3)), draw(st.integers(1, 3)), 2


@pytest.mark.slow
@settings(deadline=None, max_examples=10, derandomize=True)
@given(arguments())
def test_value_and_gradients_equal_lax_for_any_geometry(arguments):
    geometry, x, kernel, y = geometry_and_arrays(*arguments)

    def value_and_gradients(function):
        return jax.jit(lambda a, b, w: jax.value_and_grad(lambda a, b: jnp.vdot(w, function(a, b)), (0, 1))(a, b))

    forms = [functools.partial(form, geometry=geometry) for form in (convolve, lax_convolve)]
    for (ours, theirs), first, weights in ((forms, x, y), (transposes(geometry, x), y, x)):
        actual, expected = (value_and_gradients(form)(first, kernel, weights) for form in (ours, theirs))
        assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def layouts(function, *arrays):
    """The layouts of all convolutions in a program, such as `[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]`."""
    return re.findall(r"dim_numbers = (\[.*?\]x\[.*?\]->\[.*?\])", jax.jit(function).lower(*arrays).as_text())


@pytest.mark.parametrize("of", ["convolve", "transpose"])
@pytest.mark.parametrize("name", SOME)
def test_all_convolutions_of_a_training_step_have_the_fast_layout_unless_switched_off(enter, of, name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name])
    function = functools.partial(convolve, geometry=geometry) if of == "convolve" else transposes(geometry, x)[0]
    a, weights = (x, y) if of == "convolve" else (y, x)

    def all_canonical():
        found = layouts(jax.grad(lambda a, kernel: jnp.vdot(weights, function(a, kernel)), (0, 1)), a, kernel)
        assert found
        axes = {1: "0", 2: "0, 1"}[min(2, x.ndim - 2)]  # 3-D convolution is a sum of 2-D ones
        return set(found) == {f"[b, {axes}, f]x[{axes}, i, o]->[b, {axes}, f]"}

    enter(plain_forms("jaxnets_cpu,onednn"))
    assert all_canonical()
    enter(plain_forms("convolution"))
    assert not all_canonical()


def test_no_input_gradient_is_computed_for_a_constant_input(enter):
    enter(plain_forms("jaxnets_cpu,onednn"))
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS["dense"])
    gradient = jax.value_and_grad(lambda kernel: jnp.vdot(y, jnp.sin(convolve(x, kernel, geometry))))
    assert len(layouts(gradient, kernel)) == 2  # the value and the kernel's gradient


def test_the_forward_pass_can_be_exported_for_every_platform_and_for_a_batch_of_unknown_size():
    (batch,) = jax.export.symbolic_shape("batch")
    for name in ("dense", "few-channels", "depthwise", "depthwise-multiplied", "two-groups", "3-d"):
        geometry, x, kernel, _ = geometry_and_arrays(*SETTINGS[name])
        function = jax.jit(functools.partial(convolve, geometry=geometry))
        inputs = jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype)
        exported = jax.export.export(function, platforms=["cpu", "tpu", "cuda"])(inputs, kernel)
        again = jax.export.deserialize(exported.serialize())
        assert_close(again.call(x, kernel), lax_convolve(x, kernel, geometry), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["explicit mesh", "shard_map", "shard_map unchecked", "pmap", "jit"])
@pytest.mark.parametrize("name", ["dense", "depthwise", "1x1", "3-d"])
def test_gradients_of_a_sharded_batch_equal_those_of_the_whole(name, kind):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name], batch=4)
    devices = jax.devices()[:2]
    axis_type = jax.sharding.AxisType.Explicit if kind == "explicit mesh" else jax.sharding.AxisType.Auto
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(axis_type,), devices=devices)
    split, whole = jax.sharding.PartitionSpec("batch"), jax.sharding.PartitionSpec()

    def loss(kernel, x, y):
        return jnp.sum(y * jnp.sin(convolve(x, kernel, geometry)))

    def summed(kernel, x, y):
        if kind == "shard_map":  # with checked types, a gradient is summed unless it is of something that varies
            kernel = vary_like(kernel, x)
        return jax.lax.psum(jax.grad(loss)(kernel, x, y), "batch")

    if kind == "pmap":
        halves = (array.reshape(2, 2, *array.shape[1:]) for array in (x, y))
        actual = jax.pmap(summed, axis_name="batch", in_axes=(None, 0, 0), devices=devices)(kernel, *halves)[0]
    elif kind.startswith("shard_map"):
        checked = kind == "shard_map"
        in_specs = (whole, split, split)
        actual = jax.shard_map(summed, mesh=mesh, in_specs=in_specs, out_specs=whole, check_vma=checked)(kernel, x, y)
    else:
        with jax.set_mesh(mesh):
            sharded = [jax.device_put(array, jax.sharding.NamedSharding(mesh, split)) for array in (x, y)]
            replicated = jax.device_put(kernel, jax.sharding.NamedSharding(mesh, whole))
            actual = jax.jit(jax.grad(loss))(replicated, *sharded)
    assert_close(actual, jax.grad(loss)(kernel, x, y), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["dense", "few-channels", "depthwise", "two-groups", "3-d"])
def test_bfloat16_gradients_are_accumulated_in_float32(name):
    sizes = tuple(4 * size for size in SETTINGS[name][0]) if len(SETTINGS[name][0]) < 3 else (8, 8, 8)
    geometry, x, kernel, y = geometry_and_arrays(sizes, *SETTINGS[name][1:], batch=8)
    x, y = abs(x), abs(y)  # so that the sums grow and bf16 could not add to them

    def gradients(dtype):
        arrays = [jnp.asarray(array, jnp.bfloat16).astype(dtype) for array in (x, kernel, y)]
        return jax.vjp(lambda x, kernel: convolve(x, kernel, geometry), *arrays[:2])[1](arrays[2])

    for low, full in zip(gradients(jnp.bfloat16), gradients(jnp.float32), strict=True):
        assert low.dtype == jnp.bfloat16
        scale = float(jnp.max(jnp.abs(full)))
        np.testing.assert_allclose(np.asarray(low, np.float32) / scale, full / scale, atol=0.01)


@pytest.mark.parametrize("name", ["dense", "few-channels", "depthwise", "two-groups", "3-d"])
def test_an_empty_batch_gives_an_empty_result_and_no_gradient(name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name], batch=0)
    result, pull_back = jax.vjp(lambda kernel: convolve(x, kernel, geometry), kernel)
    assert result.shape == y.shape
    np.testing.assert_array_equal(pull_back(result)[0], np.zeros_like(kernel))
