"""Sums and maxima over rows on CPU against NumPy in float64 and PyTorch, under every transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import nn
from jaxnets.backend import plain_forms
from jaxnets.kernels.rows import add_bias, largest, scale_features
from jaxnets.recompute import keep_costly
from tests.forms import needs_cpu
from tests.oracles import assert_close, normal

pytestmark = needs_cpu
X, BIAS, DIRECTION = normal(4, 5, 6, 8), normal(8, seed=1), normal(4, 5, 6, 8, seed=2)


OPERATIONS = pytest.mark.parametrize(
    ("ours", "theirs"), [(add_bias, torch.add), (scale_features, torch.mul)], ids=["add_bias", "scale_features"]
)


@OPERATIONS
def test_gradients_and_their_derivatives_are_pytorch_s(ours, theirs):
    """A sum of squares, so that second derivatives are not zero; forward over reverse, as `jax.hessian` takes them."""

    def squares(x, vector):
        return jnp.vdot(jnp.square(ours(x, vector)), DIRECTION)

    x, vector = (torch.tensor(np.asarray(array), requires_grad=True) for array in (X, BIAS))
    loss = (theirs(x, vector).square() * torch.tensor(np.asarray(DIRECTION))).sum()
    expected = torch.autograd.grad(loss, (x, vector), create_graph=True)
    actual = jax.jit(jax.grad(squares, (0, 1)))(X, BIAS)
    for found, wanted in zip(actual, expected, strict=True):
        assert_close(found, wanted.detach().numpy(), rtol=1e-5, atol=1e-5)
    hessian = jax.jit(jax.hessian(squares, 1))(X, BIAS)
    second = torch.stack([torch.autograd.grad(part, vector, retain_graph=True)[0] for part in expected[1]])
    assert_close(hessian, second.numpy(), rtol=1e-5, atol=3e-5)


@OPERATIONS
def test_many_vectors_at_once_have_the_gradients_of_each(ours, theirs):
    vectors = jnp.stack([BIAS, 2 * BIAS])
    gradient_of = jax.grad(lambda x, vector: jnp.vdot(jnp.square(ours(x, vector)), DIRECTION), 1)
    found = jax.jit(jax.vmap(gradient_of, (None, 0)))(X, vectors)
    for vector, gradient in zip(vectors, found, strict=True):
        given = torch.tensor(np.asarray(vector, np.float64), requires_grad=True)
        (
            theirs(torch.tensor(np.asarray(X, np.float64)), given).square() * torch.tensor(np.asarray(DIRECTION))
        ).sum().backward()
        assert_close(gradient, given.grad.numpy(), rtol=1e-5, atol=1e-5)


LAYERS = {
    "conv": (nn.conv, {"kernel": normal(3, 3, 2, 8, seed=3), "bias": BIAS}, normal(4, 9, 9, 2, seed=4)),
    "linear": (nn.linear, {"kernel": normal(2, 8, seed=3), "bias": BIAS}, normal(4, 9, 2, seed=4)),
    "layer_norm": (nn.layer_norm, {"scale": BIAS, "bias": BIAS}, normal(4, 9, 8, seed=4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_of_vectors_are_products_and_not_sums_over_axes(name):
    """A reduction over several axes of the result is what XLA's CPU code is slow at, also where rows were reshaped."""
    layer, params, x = LAYERS[name]
    vectors = {name: array for name, array in params.items() if name != "kernel"}

    def gradient(vectors):
        return jax.grad(lambda vectors: jnp.sum(jnp.sin(layer(params | vectors, x))))(vectors)

    def sums(function):
        equations = jax.make_jaxpr(function)(vectors).jaxpr.eqns
        found = [eqn for eqn in equations if eqn.primitive.name == "reduce_sum" and eqn.outvars[0].aval.shape == (8,)]
        return [eqn for eqn in found if eqn.invars[0].aval.size > 8]

    assert not sums(gradient)
    with plain_forms("rows"):
        assert sums(gradient)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_largest_number_of_each_row_is_numpy_s(dtype):
    x = jnp.asarray(normal(3, 4, 37), dtype).at[0, 0, 5].set(-jnp.inf).at[1, 1, 3].set(jnp.inf)
    np.testing.assert_array_equal(jax.jit(largest)(x), np.max(np.asarray(x), axis=-1, keepdims=True))


def test_a_score_that_is_not_a_number_shows_in_the_result_of_attention():
    queries = normal(1, 3, 2, 4)
    queries[0, 1, 0, 2] = np.nan
    y = jax.jit(nn.dot_product_attention)(queries, normal(1, 3, 2, 4, seed=1), normal(1, 3, 2, 4, seed=2))
    np.testing.assert_array_equal(np.isnan(y).all(-1), [[[False, False], [True, False], [False, False]]])


def test_a_repeated_block_stores_no_repeated_bias():
    x, kernel = normal(4, 5, 8), normal(8, 8, seed=1)

    def stored():
        block = jax.checkpoint(lambda bias: jnp.tanh(add_bias(x @ kernel, bias)), policy=keep_costly)
        return sum(leaf.size for leaf in jax.tree.leaves(jax.vjp(block, jnp.ones(8))[1]))

    with plain_forms("rows"):
        expected = stored()
    assert stored() == expected
