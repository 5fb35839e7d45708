"""Attention by blocks of queries against JAX's own and PyTorch's (tests/nn/test_attention.py has masks and groups)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import nn
from jaxnets.backend import plain_forms
from tests.forms import needs_cpu
from tests.oracles import assert_close, normal
from tests.transformations import transformed


def attend(queries, both, causal, implementation):
    keys, values = both
    return nn.dot_product_attention(queries, keys, values, causal=causal, implementation=implementation)


@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_every_transformation_equals_that_of_jax_nn(causal):
    """50 positions: three blocks of 13 queries and one of 11."""
    a, da, weights = (jnp.asarray(normal(1, 50, 2, 4, seed=i)) for i in range(3))
    b, db = (jnp.asarray(normal(2, 1, 50, 2, 4, seed=i)) for i in (3, 4))

    @jax.jit
    def both(a, b, da, db, weights):
        functions = [functools.partial(attend, causal=causal, implementation=name) for name in ("blocks", "xla")]
        return [transformed(function, a, b, da, db, weights) for function in functions]

    blocks, expected = both(a, b, da, db, weights)
    for name, value in expected.items():
        assert_close(blocks[name], value, rtol=1e-4, atol=1e-4, what=name)


@needs_cpu
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_long_sequences_equal_torch(causal):
    """By the form that is taken on CPU without being asked for."""
    q, k, v, direction = (normal(1, 259, 2, 8, seed=i) for i in range(4))
    y, pull_back = jax.vjp(jax.jit(lambda q, k, v: attend(q, (k, v), causal, None)), q, k, v)
    tensors = [torch.tensor(array, requires_grad=True) for array in (q, k, v)]
    heads_first = (tensor.transpose(1, 2) for tensor in tensors)
    expected = torch.nn.functional.scaled_dot_product_attention(*heads_first, is_causal=causal).transpose(1, 2)
    gradients = torch.autograd.grad(expected, tensors, torch.tensor(direction))
    assert_close(y, expected.detach().numpy(), atol=1e-5)
    for actual, gradient in zip(pull_back(direction), gradients, strict=True):
        assert_close(actual, gradient.numpy(), rtol=1e-4, atol=1e-4)


@needs_cpu
def test_no_weights_of_the_whole_sequence_are_kept(enter):
    """The weights of each of two heads would be 256 x 256."""
    shape = jax.ShapeDtypeStruct((1, 256, 2, 8), jnp.float32)

    def kept():
        attention = functools.partial(nn.dot_product_attention, causal=True)
        _, pull_back = jax.eval_shape(lambda x: jax.vjp(lambda x: attention(x, x, x), x), shape)
        return max(np.prod(leaf.shape) for leaf in jax.tree.leaves(pull_back))

    assert kept() < 256 * 256
    enter(plain_forms("attention_blocks"))
    assert kept() == 2 * 256 * 256
