"""Rotary positions against rotations of complex numbers."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxnets import nn
from tests.oracles import normal


def rotated(x, positions, base, features, interleaved):
    """The paper's rotation in complex128: pair i of position p times e^(i p base^(-2i/features))."""
    turning = x[..., :features].astype(np.float64)
    half = features // 2
    real, imaginary = (turning[..., ::2], turning[..., 1::2]) if interleaved else np.split(turning, 2, axis=-1)
    angles = positions[..., None] * base ** (-2.0 * np.arange(half) / features)
    z = (real + 1j * imaginary) * np.exp(1j * angles)[..., None, :]
    pairs = np.stack([z.real, z.imag], axis=-1 if interleaved else -2)
    return np.concatenate([pairs.reshape(turning.shape), x[..., features:]], axis=-1)


@settings(deadline=None, max_examples=20, derandomize=True)
@given(
    leading=st.sampled_from([(), (2,), (2, 3)]),
    per_row=st.booleans(),
    features=st.sampled_from([2, 4, 6, 8]),
    interleaved=st.booleans(),
    base=st.sampled_from([10.0, 10000.0, 500000.0]),
)
def test_equals_complex_rotation(leading, per_row, features, interleaved, base):
    x = normal(*leading, 5, 3, 8)
    positions = np.random.default_rng(0).integers(0, 2000, size=(*leading, 5) if per_row else (5,))
    actual = nn.rotary(jnp.asarray(x), positions, base=base, features=features, interleaved=interleaved)
    expected = rotated(x, positions, base, features, interleaved)
    np.testing.assert_allclose(actual, expected, atol=1e-3)  # a float32 angle of 2,000 is right to 1e-4


def test_worked_numbers_of_both_conventions():
    x = jnp.array([[[1.0, 2.0, 3.0, 4.0]]])  # one position, one head
    one = jnp.array([1])
    c, s, c2, s2 = np.cos(1), np.sin(1), np.cos(0.01), np.sin(0.01)
    half_split = [1 * c - 3 * s, 2 * c2 - 4 * s2, 3 * c + 1 * s, 4 * c2 + 2 * s2]
    np.testing.assert_allclose(nn.rotary(x, one)[0, 0], half_split, rtol=1e-5)
    interleaved = [1 * c - 2 * s, 2 * c + 1 * s, 3 * c2 - 4 * s2, 4 * c2 + 3 * s2]
    np.testing.assert_allclose(nn.rotary(x, one, interleaved=True)[0, 0], interleaved, rtol=1e-5)


@pytest.mark.parametrize("interleaved", [False, True])
def test_products_depend_on_relative_positions_only(interleaved):
    query, key = normal(1, 1, 8), normal(1, 1, 8, seed=1)

    def product(p, q):
        turned = [nn.rotary(jnp.asarray(a), jnp.array([i]), interleaved=interleaved) for a, i in ((query, p), (key, q))]
        return float(jnp.vdot(*turned))

    assert product(7, 3) == pytest.approx(product(104, 100), rel=1e-4)
    assert product(7, 3) != pytest.approx(product(3, 7), rel=1e-2)


def test_bfloat16_positions_are_not_rounded():
    x = jnp.ones((1, 1, 2), jnp.bfloat16)
    y = nn.rotary(x, jnp.array([1001]))  # bfloat16 would make it 1000
    np.testing.assert_allclose(
        y[0, 0].astype(jnp.float32), rotated(np.ones((1, 1, 2)), np.array([1001]), 1e4, 2, True)[0, 0], rtol=0.01
    )


def test_errors():
    x = jnp.ones((2, 5, 3, 8))
    with pytest.raises(ValueError, match=r"features must be even, positive and at most 8 .* got 3"):
        nn.rotary(x, jnp.arange(5), features=3)
    with pytest.raises(ValueError, match=r"frequencies must be \[4\], one a pair of features, got \[3\]"):
        nn.rotary(x, jnp.arange(5), frequencies=np.ones(3))
    with pytest.raises(
        ValueError, match=r"factor must be positive and high more than low, got 8\.0, low 4\.0 and high 1\.0"
    ):
        nn.llama3_frequencies(8, base=10.0, factor=8.0, low=4.0, high=1.0)
    with pytest.raises(ValueError, match="features must be even and positive, got 3"):
        nn.llama3_frequencies(3, base=10.0, factor=8.0)
    with pytest.raises(ValueError, match=r"positions must be \[5\] or \[2, 5\] for x \[2, 5, 3, 8\], got \[2\]"):
        nn.rotary(x, jnp.arange(2))
    with pytest.raises(ValueError, match=r"x must be \[\.\.\., time, heads, head_dim\], got \[5, 8\]"):
        nn.rotary(jnp.ones((5, 8)), jnp.arange(5))
    with pytest.raises(TypeError, match="must be floating point"):
        nn.rotary(jnp.ones((5, 3, 8), jnp.int32), jnp.arange(5))
