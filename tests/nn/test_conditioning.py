"""What tells a network a time or a condition: against sums written out, and PyTorch."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import init, nn
from tests.oracles import normal


@pytest.mark.parametrize("features", [2, 6, 128])
def test_waves_are_those_of_the_formula(features):
    times = [0, 1, 3.5, 999]
    half = features // 2
    expected = np.zeros((4, features))
    for row, t in enumerate(times):
        for i in range(half):
            angle = t / 10_000 ** (i / half)
            expected[row, i], expected[row, half + i] = math.sin(angle), math.cos(angle)
    np.testing.assert_allclose(nn.time_embedding(jnp.array(times), features), expected, atol=1e-4)


def test_waves_of_integers_of_any_shape_in_half_precision():
    steps = jnp.array([[0, 7], [250, 999]])
    rounded = nn.time_embedding(steps, 8, dtype=jnp.bfloat16)
    exact = nn.time_embedding(steps.astype(jnp.float32), 8)
    assert rounded.dtype == jnp.bfloat16
    np.testing.assert_array_equal(rounded.astype(jnp.float32), exact.astype(jnp.bfloat16).astype(jnp.float32))


def test_an_odd_number_of_features_is_an_error():
    with pytest.raises(ValueError, match="time_embedding: features must be even and at least 2, got 5"):
        nn.time_embedding(jnp.array([1]), 5)


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3), (2, 4, 5, 3)])
def test_film_is_a_product_and_a_sum(shape):
    params, _ = init(nn.film_spec(6, 3), jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf + 0.5, params)
    x, condition = normal(*shape), normal(2, 6)
    scale, shift = (
        torch.nn.functional.linear(
            torch.tensor(condition),
            torch.tensor(np.asarray(params[name]["kernel"]).T),
            torch.tensor(np.asarray(params[name]["bias"])),
        )
        for name in ("scale", "shift")
    )
    ones = (1,) * (len(shape) - 2)
    expected = torch.tensor(x) * (1 + scale.reshape(2, *ones, 3)) + shift.reshape(2, *ones, 3)
    np.testing.assert_allclose(nn.film(params, jnp.asarray(x), jnp.asarray(condition)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("x", "condition", "message"),
    [
        ((2, 4, 3), (3, 6), "condition .batch, condition_features."),
        ((2, 4, 5), (2, 6), r"last axis of x must be 3, got \[2, 4, 5\]"),
        ((2, 4, 3), (2, 5), "last axis must be 6"),
    ],
)
def test_shapes_that_do_not_fit_film_are_errors(x, condition, message):
    params, _ = init(nn.film_spec(6, 3), jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        nn.film(params, jnp.ones(x), jnp.ones(condition))
