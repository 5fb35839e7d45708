"""The fast convolution equals plain `lax` under every transformation, and keeps XLA's fast layout inside loops."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxnets.nn.convolution_gradient import convolve, convolve_transpose
from jaxnets.nn.convolution_maps import Geometry, correlate
from tests.forms import switch_off
from tests.oracles import assert_close, normal
from tests.transformations import transformed


def lax_convolve(x, kernel, geometry):
    axes = "DHW"[-len(geometry.window) :]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        geometry.stride,
        geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=geometry.groups,
    )


def lax_convolve_transpose(y, kernel, geometry):
    inputs = jax.ShapeDtypeStruct((y.shape[0], *geometry.input_sizes, kernel.shape[-2] * geometry.groups), y.dtype)
    return jax.linear_transpose(lambda x: lax_convolve(x, kernel, geometry), inputs)(y)[0]


def geometry_and_arrays(sizes, window, stride, padding, dilation, groups, fan_in, out, batch=2):
    geometry = Geometry(sizes, window, stride, padding, dilation, groups)
    x = normal(batch, *sizes, groups * fan_in)
    kernel = normal(*window, fan_in, groups * out, seed=1)
    y = normal(batch, *geometry.output_sizes, groups * out, seed=2)
    return geometry, x, kernel, y


SETTINGS = {
    "dense": ((5, 6), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1, 2, 3),
    "untouched-rows": ((6, 7), (3, 2), (2, 3), ((0, 0), (0, 0)), (1, 1), 1, 2, 3),
    "dilated": ((7, 6), (3, 2), (1, 2), ((2, 1), (0, 1)), (2, 3), 1, 2, 3),
    "more-padding-than-window": ((4, 3), (2, 2), (2, 1), ((3, 2), (0, 4)), (1, 1), 1, 3, 2),
    "few-channels": ((4, 5), (2, 2), (1, 2), ((0, 1), (1, 0)), (1, 1), 1, 1, 5),
    "1x1": ((4, 5), (1, 1), (2, 1), ((1, 0), (0, 0)), (1, 1), 1, 3, 2),
    "two-groups": ((5, 4), (3, 2), (2, 1), ((1, 1), (0, 0)), (1, 2), 2, 2, 2),
    "nine-groups": ((4, 4), (2, 2), (2, 1), ((0, 0), (1, 0)), (1, 1), 9, 2, 1),
    "depthwise": ((5, 6), (3, 2), (2, 1), ((1, 0), (0, 1)), (1, 2), 3, 1, 1),
    "depthwise-multiplied": ((4, 5), (2, 2), (1, 1), ((0, 0), (1, 0)), (1, 1), 3, 1, 2),
    "depthwise-large-window": ((9, 9), (9, 8), (1, 1), ((4, 4), (4, 3)), (1, 1), 2, 1, 1),
    "1-d": ((9,), (3,), (2,), ((0, 1),), (2,), 1, 3, 2),
    "3-d": ((4, 3, 5), (2, 2, 3), (2, 1, 2), ((1, 0), (0, 1), (1, 1)), (1, 2, 1), 1, 2, 2),
    "3-d-two-groups": ((3, 4, 3), (2, 2, 2), (1, 2, 1), ((0, 0),) * 3, (1, 1, 1), 2, 2, 1),
}


def quick(name):
    """The others compile for long; `make test-slow` runs them."""
    return name if name in ("dense", "untouched-rows", "depthwise") else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [quick(name) for name in SETTINGS])
def test_every_transformation_of_convolve_equals_lax(name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name])
    arrays = (x, kernel, normal(*x.shape, seed=3), normal(*kernel.shape, seed=4), y)
    actual, expected = (
        jax.jit(functools.partial(transformed, functools.partial(form, geometry=geometry)))(*arrays)
        for form in (convolve, lax_convolve)
    )
    assert_close(actual, expected, rtol=1e-4, atol=2e-4)


SOME = ["untouched-rows", "dense", "dilated", "two-groups", "nine-groups", "1-d", "3-d"]


@pytest.mark.parametrize("name", [quick(name) for name in SOME])
def test_every_transformation_of_convolve_transpose_equals_lax(name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name])
    arrays = (y, kernel, normal(*y.shape, seed=3), normal(*kernel.shape, seed=4), x)
    actual, expected = (
        jax.jit(functools.partial(transformed, functools.partial(form, geometry=geometry)))(*arrays)
        for form in (convolve_transpose, lax_convolve_transpose)
    )
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

    def value_and_gradients(function, a, b, weights):
        return jax.value_and_grad(lambda a, b: jnp.vdot(weights, function(a, b, geometry)), (0, 1))(a, b)

    pairs = [(convolve, lax_convolve, x, y), (convolve_transpose, lax_convolve_transpose, y, x)]
    for ours, theirs, first, weights in pairs:
        actual = jax.jit(lambda a, b, w, f=ours: value_and_gradients(f, a, b, w))(first, kernel, weights)
        expected = jax.jit(lambda a, b, w, f=theirs: value_and_gradients(f, a, b, w))(first, kernel, weights)
        assert_close(actual, expected, rtol=1e-4, atol=1e-4)


def inner_jaxprs(settings):
    for value in settings.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if hasattr(getattr(item, "jaxpr", item), "eqns"):
                yield getattr(item, "jaxpr", item)


def convolutions_of(jaxpr):
    """The settings of all convolutions in a jaxpr."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == "convolution_on_cpu":  # what it is lowered to
            x, kernel = (jnp.zeros(operand.aval.shape, operand.aval.dtype) for operand in equation.invars)
            function = functools.partial(correlate, geometry=equation.params["geometry"])
            found += convolutions_of(jax.make_jaxpr(function)(x, kernel).jaxpr)
        elif equation.primitive.name == "conv_general_dilated":
            found.append(equation.params)
        else:
            found += [inner for sub in inner_jaxprs(equation.params) for inner in convolutions_of(sub)]
    return found


def is_canonical(convolution):
    """Whether it is laid out [batch, *spatial, channels] and [*window, in, out]: what XLA's fast CPU routine takes."""
    numbers = convolution["dimension_numbers"]
    rank = len(convolution["window_strides"])
    image = (0, rank + 1, *range(1, rank + 1))
    kernel = (rank + 1, rank, *range(rank))
    return (*numbers,) == (image, kernel, image) and convolution["batch_group_count"] == 1


@pytest.mark.parametrize("function", [convolve, convolve_transpose])
@pytest.mark.parametrize("name", SOME)
def test_all_convolutions_of_a_training_step_have_the_fast_layout_unless_switched_off(monkeypatch, function, name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name])
    a, weights = (x, y) if function is convolve else (y, x)

    def all_canonical():
        def loss(a, kernel):
            return jnp.vdot(weights, function(a, kernel, geometry))

        found = convolutions_of(jax.make_jaxpr(jax.grad(loss, (0, 1)))(a, kernel).jaxpr)
        assert found
        return all(is_canonical(convolution) for convolution in found)

    assert all_canonical()
    switch_off(monkeypatch, "convolution")
    assert not all_canonical()


def test_no_input_gradient_is_computed_for_a_constant_input():
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS["dense"])
    gradient = jax.grad(lambda kernel: jnp.vdot(y, convolve(x, kernel, geometry)))
    assert len(convolutions_of(jax.make_jaxpr(gradient)(kernel).jaxpr)) == 2  # the value and the kernel's gradient


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
            kernel = jax.lax.pcast(kernel, "batch", to="varying")
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
