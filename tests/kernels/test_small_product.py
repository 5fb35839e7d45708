"""Products of small matrices, written out, equal JAX's own under every transformation, and stay small."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import nn
from jaxnets.backend import plain_forms
from jaxnets.kernels.small_product import matrix_product
from tests.forms import needs_cpu
from tests.oracles import assert_close, normal
from tests.transformations import transformed

pytestmark = needs_cpu

SIZES = {"rows": (10, 8, 12), "one-row": (1, 8, 5), "one-column": (5, 3, 1), "one-entry": (4, 1, 3), "none": (0, 3, 2)}


def names(function, *arguments):
    """The primitives in a function's program, those of inner programs included."""
    found = set()

    def visit(jaxpr):
        for equation in jaxpr.eqns:
            found.add(equation.primitive.name)
            for value in equation.params.values():
                if hasattr(value, "jaxpr"):
                    visit(value.jaxpr)

    visit(jax.make_jaxpr(function)(*arguments).jaxpr)
    return found


def loss(x, kernel):
    return jnp.sum(jnp.sin(matrix_product(x, kernel)))


gradient = jax.grad(loss, (0, 1))


@pytest.mark.parametrize("name", SIZES)
def test_every_transformation_equals_that_of_the_plain_product(name):
    rows, features, out = SIZES[name]
    x, kernel, y = normal(rows, features), normal(features, out, seed=1), normal(rows, out, seed=2)
    arrays = (x, kernel, normal(*x.shape, seed=3), normal(*kernel.shape, seed=4), y)
    actual = jax.jit(lambda *arrays: transformed(matrix_product, *arrays))(*arrays)
    expected = jax.jit(lambda *arrays: transformed(jnp.matmul, *arrays))(*arrays)
    assert_close(actual, expected)


@pytest.mark.parametrize(
    "axes", [((None, 0), (0, None)), ((0, None), (0, 0)), ((0, 0), (1, 1)), ((None, 0), (None, 2))]
)
def test_maps_in_maps_equal_those_of_the_plain_product(axes):
    outer, inner = axes
    x, kernel = normal(4, 3), normal(3, 2)
    for axis_x, axis_kernel in (inner, outer):
        x = x if axis_x is None else np.stack([x, 2 * x, -x], axis_x)
        kernel = kernel if axis_kernel is None else np.stack([kernel, 2 * kernel, -kernel], axis_kernel)

    def mapped(product):
        slope = jax.grad(lambda x, kernel: jnp.sum(jnp.sin(product(x, kernel))), (0, 1))
        return jax.jit(jax.vmap(jax.vmap(slope, inner), outer))

    assert_close(mapped(matrix_product)(x, kernel), mapped(jnp.matmul)(x, kernel))


def test_many_networks_are_written_out():
    program = names(jax.vmap(gradient), normal(64, 10, 8), normal(64, 8, 12))
    assert "small_product_on_cpu" in program
    assert "dot_general" not in program


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (1, None), (None, 2)])
def test_many_examples_are_one_large_product(axes):
    x, kernel = normal(10, 8), normal(8, 12)
    x, kernel = (np.stack([a] * 64, axis) if axis is not None else a for a, axis in zip((x, kernel), axes, strict=True))
    tangents = normal(*x.shape, seed=1), normal(*kernel.shape, seed=2)
    mapped = jax.vmap(matrix_product, axes)
    program = names(lambda *pair: jax.jvp(mapped, pair, tangents), x, kernel)
    assert "dot_general" in program
    assert "small_product_on_cpu" not in program
    actual = jax.jit(lambda *pair: jax.jvp(mapped, pair, tangents))(x, kernel)
    expected = jax.jvp(jax.vmap(jnp.matmul, axes), (x, kernel), tangents)
    assert_close(actual, expected)


def test_large_products_and_half_precision_stay_as_they_are():
    assert "small_product_on_cpu" not in names(gradient, normal(33, 8), normal(8, 4))
    half = jnp.ones((2, 3), jnp.bfloat16), jnp.ones((3, 2), jnp.bfloat16)
    assert "small_product_on_cpu" not in names(gradient, *half)
    assert "small_product_on_cpu" in names(gradient, normal(32, 8), normal(8, 4))


def test_it_can_be_switched_off(enter):
    enter(plain_forms("small_product"))
    assert names(gradient, normal(2, 3), normal(3, 2)) & {"dot_general", "small_product_on_cpu"} == {"dot_general"}


def test_a_batch_of_unknown_size_can_be_exported():
    params = {"kernel": normal(8, 12), "bias": normal(12, seed=1)}
    (batch,) = jax.export.symbolic_shape("batch")
    x = jax.ShapeDtypeStruct((batch, 8), jnp.float32)
    exported = jax.export.export(jax.jit(lambda x: nn.linear(params, x)))(x)
    rows = normal(5, 8, seed=2)
    assert_close(exported.call(rows), rows @ params["kernel"] + params["bias"])


def test_a_program_traced_here_compiles_for_other_platforms():
    exported = jax.export.export(jax.jit(gradient), platforms=["cpu", "tpu", "cuda"])(normal(4, 3), normal(3, 2))
    assert "dot_general" in exported.mlir_module()
    assert_close(exported.call(normal(4, 3), normal(3, 2)), jax.jit(gradient)(normal(4, 3), normal(3, 2)))
