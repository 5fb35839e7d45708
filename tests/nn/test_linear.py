"""The linear layer against PyTorch, and its errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import init, nn, torch_defaults
from tests.oracles import normal
from tests.torch_oracle import assert_parity


@pytest.mark.parametrize("leading", [(4,), (), (2, 3, 4)])
def test_values_and_gradients_equal_torch(leading):
    params = {"kernel": normal(5, 3, seed=1), "bias": normal(3, seed=2)}
    assert_parity(
        nn.linear,
        lambda p, x: torch.nn.functional.linear(x, p["kernel"].T, p["bias"]),
        params,
        normal(*leading, 5),
    )


def test_wrong_last_axis_says_what_came_and_what_was_expected():
    params, _ = init(nn.linear_spec(5, 3), jax.random.key(0))
    with pytest.raises(ValueError, match=r"linear: last axis must be 5 \(kernel \[5, 3\]\), got x \[4, 6\]"):
        nn.linear(params, jnp.ones((4, 6)))


def test_integers_are_refused():
    params, _ = init(nn.linear_spec(5, 3), jax.random.key(0))
    with pytest.raises(TypeError, match=r"must be floating point, got int32; write x.astype"):
        nn.linear(params, jnp.ones((4, 5), jnp.int32))


def test_torch_defaults_have_torch_distribution():
    params, _ = init(torch_defaults(nn.linear_spec(400, 300)), jax.random.key(0))
    theirs = torch.nn.Linear(400, 300)
    np.testing.assert_allclose(np.std(params["kernel"]), theirs.weight.detach().numpy().std(), rtol=0.02)
    np.testing.assert_allclose(np.std(params["bias"]), theirs.bias.detach().numpy().std(), rtol=0.15)
    np.testing.assert_allclose(np.max(np.abs(params["kernel"])), 1 / 20, rtol=1e-3)
