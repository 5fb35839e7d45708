"""Convolution by the package jaxnets-cpu equals plain `lax` and PyTorch, and is called only where it can be."""

import functools
import subprocess
import sys

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import nn
from jaxnets.backend import plain_forms
from jaxnets.flops import count_flops
from jaxnets.kernels.compiled_convolution import compiled_available
from jaxnets.nn.convolve import convolve
from tests.forms import needs_cpu
from tests.kernels.test_convolution import SETTINGS, geometry_and_arrays, lax_convolve, transposes
from tests.oracles import assert_close, normal
from tests.transformations import transformed

pytestmark = [
    needs_cpu,
    pytest.mark.skipif(not compiled_available(), reason="needs the package jaxnets-cpu (pip install ./cpu)"),
]
CALLS = {name: f"@jaxnets_{name}" for name in ("forward", "input_gradient", "kernel_gradient")}
LARGE = {
    "dense": ((28, 30), (3, 3), (2, 1), ((1, 1), (0, 1)), (1, 1), 1, 16, 24),
    "two-groups": ((28, 30), (3, 3), (2, 1), ((1, 1), (0, 1)), (1, 1), 2, 16, 24),
    "product": ((28, 30), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1, 48, 64),
}
"""Sizes of which every part of the batch has enough to compute for a thread of its own."""


def value_and_gradients(function, weights):
    return jax.jit(jax.value_and_grad(lambda a, b: jnp.vdot(weights, function(a, b)), (0, 1)))


def calls(function, *arrays):
    """Which of the package's calls a program has."""
    program = jax.jit(function).lower(*arrays).as_text()
    return {name for name, text in CALLS.items() if text in program}


def quick(name):
    return name if name in ("dense", "depthwise") else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [quick(name) for name in SETTINGS])
def test_every_transformation_equals_lax(name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name])
    arrays = (x, kernel, normal(*x.shape, seed=3), normal(*kernel.shape, seed=4), y)
    ours, theirs = (
        jax.jit(functools.partial(transformed, functools.partial(form, geometry=geometry)))
        for form in (convolve, lax_convolve)
    )
    # sums over 72 taps in another order differ by rounding, which three steps of training in the scan enlarge
    assert_close(ours(*arrays), theirs(*arrays), rtol=1e-4, atol=1e-3 if name == "depthwise-large-window" else 2e-4)


@pytest.mark.parametrize("name", SETTINGS)
def test_value_and_gradients_equal_lax_and_the_transpose_does(name):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name])
    forms = [functools.partial(form, geometry=geometry) for form in (convolve, lax_convolve)]
    for (ours, theirs), first, weights in ((forms, x, y), (transposes(geometry, x), y, x)):
        actual, expected = (value_and_gradients(form, weights)(first, kernel) for form in (ours, theirs))
        assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch", [1, 5, 16])
@pytest.mark.parametrize("name", LARGE)
def test_a_batch_in_parts_of_different_sizes_equals_lax_with_the_same_bits_each_time(name, batch):
    geometry, x, kernel, y = geometry_and_arrays(*LARGE[name], batch=batch)
    ours, theirs = (
        value_and_gradients(functools.partial(form, geometry=geometry), y) for form in (convolve, lax_convolve)
    )
    first = ours(x, kernel)
    assert_close(first, theirs(x, kernel), rtol=1e-3, atol=2e-3)  # of sums over up to 13,920 positions
    for _ in range(5):
        again = ours(x, kernel)
        jax.tree.map(np.testing.assert_array_equal, again, first)


def test_a_layer_equals_pytorch():
    torch = pytest.importorskip("torch")
    x, kernel, bias = normal(4, 9, 8, 16), normal(3, 3, 16, 24, seed=1), normal(24, seed=2)
    weights = normal(4, 5, 4, 24, seed=3)

    def loss(params, x):
        return jnp.vdot(weights, nn.conv(params, x, stride=2, padding=1))

    value, (ours, dx) = jax.jit(jax.value_and_grad(loss, (0, 1)))({"kernel": kernel, "bias": bias}, x)
    tensors = [torch.tensor(np.asarray(array), requires_grad=True) for array in (x, kernel, bias)]
    y = torch.nn.functional.conv2d(tensors[0].permute(0, 3, 1, 2), tensors[1].permute(3, 2, 0, 1), tensors[2], 2, 1)
    theirs = (y.permute(0, 2, 3, 1) * torch.tensor(np.asarray(weights))).sum()
    theirs.backward()
    assert_close(value, theirs.item(), rtol=1e-4, atol=1e-3)
    expected = [tensor.grad.numpy() for tensor in tensors]
    assert_close([dx, ours["kernel"], ours["bias"]], expected, rtol=1e-4, atol=1e-4)


def loss(x, kernel, y, geometry):
    return jnp.vdot(y, jnp.sin(convolve(x, kernel, geometry)))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("two-groups", {"forward", "input_gradient", "kernel_gradient"}),
        ("dense", {"forward", "kernel_gradient"}),  # without strides the gradient of the input is a forward pass
        ("depthwise-multiplied", {"forward", "kernel_gradient"}),
    ],
)
def test_a_program_calls_the_package_unless_it_is_exported_or_for_several_devices_or_switched_off(
    enter, name, expected
):
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS[name], batch=4)
    gradients = jax.jit(jax.grad(functools.partial(loss, geometry=geometry), (0, 1)))
    assert calls(gradients, x, kernel, y) == expected
    found = gradients(x, kernel, y)

    exported = jax.export.export(gradients)(x, kernel, y)
    assert not any(text in exported.mlir_module() for text in CALLS.values())
    again = jax.export.deserialize(exported.serialize())
    assert_close(again.call(x, kernel, y), found, rtol=1e-4, atol=1e-4)

    mesh = jax.make_mesh((2,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])
    split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    arrays = jax.device_put(x, split), jax.device_put(kernel, whole), jax.device_put(y, split)
    assert not calls(gradients, *arrays)
    assert_close(gradients(*arrays), found, rtol=1e-4, atol=1e-4)

    enter(plain_forms("jaxnets_cpu"))
    assert not calls(gradients, x, kernel, y)
    assert "kernel_gradient_on_cpu" not in str(jax.make_jaxpr(gradients)(x, kernel, y))
    assert_close(gradients(x, kernel, y), found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("left_out", ["half precision", "no entries", "cropped"])
def test_what_the_package_does_not_compute_is_left_to_others(left_out):
    geometry, x, kernel, _ = geometry_and_arrays(*SETTINGS["dense"])
    if left_out == "half precision":
        x, kernel = jnp.asarray(x, jnp.bfloat16), jnp.asarray(kernel, jnp.bfloat16)
    elif left_out == "no entries":
        x = x[:0]
    else:
        geometry = geometry._replace(padding=((1, 1), (1, -1)))
    assert not calls(functools.partial(convolve, geometry=geometry), x, kernel)


PROGRAM = """
import sys, jax, jax.numpy as jnp
from jaxnets import nn
from jaxnets.training import keep_compiled_programs
keep_compiled_programs(sys.argv[1])
found = []
jax.monitoring.register_event_listener(lambda name, **settings: found.append(name))
loss = jax.jit(jax.grad(lambda kernel, x: jnp.sum(jnp.sin(nn.conv({"kernel": kernel}, x, padding=1)))))
kernel, x = jnp.ones((3, 3, 8, 16)), jnp.linspace(-1, 1, 2 * 8 * 8 * 8).reshape(2, 8, 8, 8)
text = loss.lower(kernel, x).as_text()
assert "@jaxnets_kernel_gradient" in text and "@jaxnets_forward" in text
found.clear()
gradient = loss(kernel, x).block_until_ready()
hits = found.count("/jax/compilation_cache/cache_hits")
print(gradient.sum(), hits)
"""


def test_a_program_that_calls_it_is_kept_in_the_compilation_cache(tmp_path):
    run = functools.partial(subprocess.run, capture_output=True, text=True, check=True, timeout=300)
    first, second = (run([sys.executable, "-c", PROGRAM, str(tmp_path)]).stdout.split() for _ in range(2))
    assert first[0] == second[0]
    assert (int(first[1]), int(second[1])) == (0, 1)


def test_the_gradient_of_a_kernel_counts_as_many_operations_as_the_convolution():
    geometry, x, kernel, y = geometry_and_arrays(*SETTINGS["dense"])
    gradient = jax.grad(lambda x, kernel: jnp.sum(y * convolve(x, kernel, geometry)), 1)
    forward = count_flops(functools.partial(convolve, geometry=geometry), x, kernel)
    assert count_flops(gradient, x, kernel) == 2 * forward
