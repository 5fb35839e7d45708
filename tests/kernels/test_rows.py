"""Sums and maxima over rows on CPU against NumPy in float64 and PyTorch, under every transformation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import nn
from jaxnets.backend import plain_forms
from jaxnets.kernels.rows import add_bias, largest
from tests.forms import needs_cpu
from tests.oracles import assert_close, normal

pytestmark = needs_cpu
X, BIAS, DIRECTION = normal(4, 5, 6, 8), normal(8, seed=1), normal(4, 5, 6, 8, seed=2)


def squares(x, bias):
    return jnp.vdot(jnp.square(add_bias(x, bias)), DIRECTION)


def test_gradients_and_their_derivatives_are_pytorch_s():
    """A sum of squares, so that second derivatives are not zero; forward over reverse, as `jax.hessian` takes them."""
    x, bias = (torch.tensor(np.asarray(array), requires_grad=True) for array in (X, BIAS))
    loss = ((x + bias).square() * torch.tensor(np.asarray(DIRECTION))).sum()
    expected = torch.autograd.grad(loss, (x, bias), create_graph=True)
    actual = jax.jit(jax.grad(squares, (0, 1)))(X, BIAS)
    for ours, theirs in zip(actual, expected, strict=True):
        assert_close(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-5)
    hessian = jax.jit(jax.hessian(squares, 1))(X, BIAS)
    second = torch.stack([torch.autograd.grad(part, bias, retain_graph=True)[0] for part in expected[1]])
    assert_close(hessian, second.numpy(), rtol=1e-5, atol=1e-5)


def test_many_biases_at_once_have_the_gradients_of_each():
    biases = jnp.stack([BIAS, 2 * BIAS])
    found = jax.jit(jax.vmap(jax.grad(squares, 1), (None, 0)))(X, biases)
    for bias, gradient in zip(biases, found, strict=True):
        expected = np.sum(2 * (np.asarray(X, np.float64) + np.asarray(bias)) * np.asarray(DIRECTION), axis=(0, 1, 2))
        assert_close(gradient, expected, rtol=1e-5, atol=1e-5)


def test_the_gradient_of_a_convolution_s_bias_is_a_product_and_not_a_sum_over_axes():
    """A reduction over the four axes of the result is what XLA's CPU code is slow at."""
    params, x = {"kernel": normal(3, 3, 2, 8, seed=3), "bias": BIAS}, normal(4, 9, 9, 2, seed=4)

    def bias_gradient(params):
        return jax.grad(lambda bias: jnp.sum(jnp.sin(nn.conv(params | {"bias": bias}, x))))(params["bias"])

    def sums(function):
        equations = jax.make_jaxpr(function)(params).jaxpr.eqns
        found = [eqn for eqn in equations if eqn.primitive.name == "reduce_sum" and eqn.outvars[0].aval.shape == (8,)]
        return [eqn for eqn in found if eqn.invars[0].aval.size > 8]

    assert not sums(bias_gradient)
    with plain_forms("rows"):
        assert sums(bias_gradient)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_largest_number_of_each_row_is_numpy_s(dtype):
    x = jnp.asarray(normal(3, 4, 37), dtype).at[0, 0, 5].set(-jnp.inf).at[1, 1, 3].set(jnp.inf)
    np.testing.assert_array_equal(jax.jit(largest)(x), np.max(np.asarray(x), axis=-1, keepdims=True))


def test_a_score_that_is_not_a_number_shows_in_the_result_of_attention():
    queries = normal(1, 3, 2, 4)
    queries[0, 1, 0, 2] = np.nan
    y = jax.jit(nn.dot_product_attention)(queries, normal(1, 3, 2, 4, seed=1), normal(1, 3, 2, 4, seed=2))
    np.testing.assert_array_equal(np.isnan(y).all(-1), [[[False, False], [True, False], [False, False]]])
