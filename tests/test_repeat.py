"""Scanned blocks against the same blocks in a Python loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import init, nn, repeat, repeat_spec, subkey
from tests.forms import switch_off
from tests.oracles import assert_close, normal


def block(params, state, x, *, key):
    noise = 0.0 if key is None else jax.random.normal(key, x.shape)
    y = jnp.tanh(nn.linear(params["fc"], x)) + noise
    return y, {"count": state["count"] + 1} if state else state


def looped(params, state, x, key):
    states = []
    for i in range(3):
        part = jax.tree.map(lambda a, i=i: a[i], (params, state))
        x, new = block(*part, x, key=subkey(key, i))
        states.append(new)
    return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


@pytest.mark.parametrize(("plain", "unroll"), [("", 0), ("", 2), ("", 3), ("repeat", 0)])
@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize("key", [None, jax.random.key(5)])
def test_values_gradients_and_state_equal_a_loop(monkeypatch, remat, key, plain, unroll):
    switch_off(monkeypatch, plain)
    params, _ = init(repeat_spec({"fc": nn.linear_spec(4, 4)}, 3), jax.random.key(0))
    state = {"count": jnp.arange(3)}
    x = normal(2, 4)

    def scanned(params, state, x, key):
        return repeat(block, params, state, x, key=key, remat=remat, unroll=unroll)

    assert_close(scanned(params, state, x, key), looped(params, state, x, key), rtol=1e-6, atol=1e-6)

    def gradient(function):
        return jax.grad(lambda p, x: jnp.sum(jnp.sin(function(p, state, x, key)[0])), argnums=(0, 1))(params, x)

    assert_close(gradient(scanned), gradient(looped), rtol=1e-5, atol=1e-6)


def test_the_program_does_not_grow_with_depth(monkeypatch):
    def size(depth, **settings):
        params, _ = init(repeat_spec({"fc": nn.linear_spec(4, 4)}, depth), jax.random.key(0))
        run = jax.jit(lambda p, x: repeat(block, p, {}, x, **settings))
        return len(run.lower(params, jnp.ones((2, 4))).as_text())

    assert abs(size(30) - size(3)) < 100
    assert size(30, unroll=29) == size(30)
    assert size(30, unroll=30) > 5 * size(30)
    switch_off(monkeypatch, "repeat")
    assert size(30) > 5 * size(3)


def test_stacks_of_different_depth_are_refused():
    with pytest.raises(ValueError, match=r"same first axis.*\['2', '3'\]"):
        repeat(block, {"a": np.ones((2, 4)), "b": np.ones((3, 4))}, {}, jnp.ones(4))
    with pytest.raises(ValueError, match="same first axis"):
        repeat(block, {}, {}, jnp.ones(4))
