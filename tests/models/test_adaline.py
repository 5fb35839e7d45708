"""The delta rule against PyTorch's gradient descent and against least squares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets.models import AdalineConfig, adaline, adaline_rule


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("batch", [1, 7])
def test_the_rule_is_gradient_descent_on_half_the_squared_error(bias, batch):
    generator = np.random.default_rng(0)
    x, targets = generator.normal(size=(batch, 3)).astype(np.float32), np.sign(generator.normal(size=batch))
    params, _ = adaline(AdalineConfig(3, bias=bias)).init(jax.random.key(0))
    layer = torch.nn.Linear(3, 1, bias=bias)
    layer.weight.data = torch.tensor(np.array(params["kernel"]).T.copy())
    if bias:
        layer.bias.data.zero_()
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(5):
        errors_before = torch.tensor(targets).float() - layer(torch.tensor(x))[:, 0]
        optimizer.zero_grad()
        torch.mean(errors_before**2 / 2).backward()
        optimizer.step()
        params, errors = adaline_rule(params, jnp.asarray(x), targets, learning_rate=0.1)
        np.testing.assert_allclose(errors, errors_before.detach(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(params["kernel"], layer.weight.detach().T, rtol=1e-4, atol=1e-6)
    assert ("bias" in params) == bias
    if bias:
        np.testing.assert_allclose(params["bias"], layer.bias.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("rate_of_limit", "converges"), [(0.99, True), (1.01, False)])
def test_the_limit_of_the_rate_is_2_by_the_largest_eigenvalue(rate_of_limit, converges):
    generator = np.random.default_rng(1)
    x = generator.normal(size=(40, 2)).astype(np.float32) * np.array([1.0, 1.5], np.float32)
    targets = np.sign(x[:, 0] + generator.normal(size=40)).astype(np.float32)
    rate = rate_of_limit * 2 / np.linalg.eigvalsh(x.T @ x / 40).max()
    params = {"kernel": jnp.ones((2, 1))}
    step = jax.jit(lambda params: adaline_rule(params, jnp.asarray(x), targets, learning_rate=rate)[0])
    for _ in range(1000):
        params = step(params)
    best = np.linalg.lstsq(x.astype(np.float64), targets)[0]
    away = np.abs(np.asarray(params["kernel"])[:, 0] - best).max()
    assert away < 1e-5 if converges else away > 1e3


def test_wrong_inputs_are_refused():
    params = {"kernel": jnp.zeros((2, 1))}
    with pytest.raises(ValueError, match=r"got \[3, 2\] and \[3, 1\]; write x\[None\]"):
        adaline_rule(params, jnp.ones((3, 2)), jnp.ones((3, 1)), learning_rate=0.1)
    with pytest.raises(ValueError, match=r"got \[2\] and \[\]"):
        adaline_rule(params, jnp.ones(2), jnp.ones(()), learning_rate=0.1)
    with pytest.raises(TypeError, match="x must be floating point"):
        adaline_rule(params, jnp.ones((3, 2), jnp.int32), jnp.ones(3), learning_rate=0.1)
