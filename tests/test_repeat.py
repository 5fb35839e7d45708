"""Scanned blocks against the same blocks in a Python loop."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import init, nn, repeat, repeat_spec, subkey, unstack
from jaxnets.backend import plain_forms, trace_for
from tests.forms import needs_cpu
from tests.oracles import assert_close, normal


def block(params, state, x, *, key=None):
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
def test_values_gradients_and_state_equal_a_loop(enter, remat, key, plain, unroll):
    enter(plain_forms(plain))
    params, _ = init(repeat_spec({"fc": nn.linear_spec(4, 4)}, 3), jax.random.key(0))
    state = {"count": jnp.arange(3)}
    x = normal(2, 4)

    def scanned(params, state, x, key):
        return repeat(block, params, x, state=state, key=key, remat=remat, unroll=unroll)

    def value_and_gradient(function):
        def loss(params, x):
            return jnp.sum(jnp.sin(function(params, state, x, key)[0]))

        both = jax.jit(lambda params, x: (function(params, state, x, key), jax.grad(loss, argnums=(0, 1))(params, x)))
        return both(params, x)

    (value, gradient), (expected, expected_gradient) = value_and_gradient(scanned), value_and_gradient(looped)
    assert_close(value, expected, rtol=1e-6, atol=1e-6)
    assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("key", [None, jax.random.key(5)])
def test_blocks_taken_apart_equal_a_loop(key):
    params, _ = init(repeat_spec({"fc": nn.linear_spec(4, 4)}, 3), jax.random.key(0))
    state, x = {"count": jnp.arange(3)}, normal(2, 4)
    y, new_state = jax.jit(functools.partial(repeat, block))(unstack(params), x, state=unstack(state), key=key)
    expected, expected_state = looped(params, state, x, key)
    assert_close(y, expected, rtol=1e-6, atol=1e-6)
    assert [int(one["count"]) for one in new_state] == list(expected_state["count"])


@pytest.mark.parametrize(
    ("count", "state", "message"),
    [
        (3, {"count": jnp.arange(3)}, "a list of 3 blocks, state must be one too, got a dict"),
        (3, [{"count": jnp.array(0)}], "a list of 3 blocks, state must be one too, got a list of 1"),
        (0, None, "params is an empty list"),
    ],
)
def test_lists_of_blocks_that_do_not_fit_are_errors(count, state, message):
    with pytest.raises(ValueError, match=message):
        repeat(block, [{}] * count, jnp.ones((2, 4)), state=state)


@needs_cpu
def test_the_program_does_not_grow_with_depth(enter):
    def size(depth, **settings):
        params, _ = init(repeat_spec({"fc": nn.linear_spec(4, 4)}, depth), jax.random.key(0))
        run = jax.jit(lambda p, x: repeat(block, p, x, state={}, **settings))
        return len(run.lower(params, jnp.ones((2, 4))).as_text())

    assert abs(size(30) - size(3)) < 100
    assert size(30, unroll=29) == size(30)
    assert size(30, unroll=30) > 5 * size(30)
    enter(plain_forms("repeat"))
    assert size(30) > 5 * size(3)


def test_up_to_24_blocks_are_written_out_on_gpu_unless_memory_matters():
    def loops(depth, **settings):
        params, _ = init(repeat_spec({"fc": nn.linear_spec(4, 4)}, depth), jax.random.key(0))
        with trace_for("gpu"):
            jaxpr = jax.make_jaxpr(lambda p, x: repeat(block, p, x, state={}, **settings))(params, jnp.ones((2, 4)))
        return sum(equation.primitive.name == "scan" for equation in jaxpr.eqns)

    assert [loops(24), loops(25), loops(24, remat=True)] == [0, 1, 1]


def test_stacks_of_different_depth_are_refused():
    with pytest.raises(ValueError, match=r"same first axis.*\['2', '3'\]"):
        repeat(block, {"a": np.ones((2, 4)), "b": np.ones((3, 4))}, jnp.ones(4), state={})
    with pytest.raises(ValueError, match="same first axis"):
        repeat(block, {}, jnp.ones(4))


@pytest.mark.parametrize("unroll", [0, 3])
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_a_layer_is_repeated_as_it_is(rate, unroll):
    params, _ = init(repeat_spec(nn.transformer_block_spec(8, heads=2), 3), jax.random.key(0))
    block = functools.partial(nn.transformer_block, causal=True, dropout_rate=rate, train=True)
    key = jax.random.key(1) if rate else None
    x = y = normal(2, 5, 8)
    for i in range(3):
        keys = {"key": subkey(key, i)} if rate else {}
        y = block(jax.tree.map(lambda leaf, i=i: leaf[i], params), y, **keys)
    assert_close(repeat(block, params, x, key=key, unroll=unroll), y, rtol=1e-5, atol=1e-6)


def test_a_block_that_takes_no_key_is_called_without():
    params, _ = init(repeat_spec(nn.linear_spec(4, 4), 3), jax.random.key(0))
    x = y = normal(2, 4)
    for i in range(3):
        y = nn.linear(jax.tree.map(lambda leaf, i=i: leaf[i], params), y)
    assert_close(repeat(nn.linear, params, x), y, rtol=1e-6)


@pytest.mark.parametrize("unroll", [0, 3])
def test_trees_of_arrays_go_through(unroll):
    params = {"a": jnp.arange(3.0)}

    def block(params, x):
        return {"sum": x["sum"] + params["a"], "count": x["count"] + 1}

    x = {"sum": 0.0, "count": 0}
    result = repeat(block, params, x, unroll=unroll)
    assert_close(result, {"sum": 3.0, "count": 3})


@pytest.mark.parametrize("unroll", [0, 3])
def test_what_blocks_return_is_checked(unroll):
    params, _ = init(repeat_spec({"fc": nn.linear_spec(4, 8)}, 3), jax.random.key(0))
    x = normal(2, 4)
    with pytest.raises(ValueError, match=r"it was given float32\[2, 4\] and returned float32\[2, 8\]"):
        repeat(lambda p, x: nn.linear(p["fc"], x), params, x, unroll=unroll)
    with pytest.raises(ValueError, match=r"returned a tuple of 2; a block with state is repeated by .*state=state\)"):
        repeat(lambda p, x: (x, {}), params, x, unroll=unroll)
    with pytest.raises(ValueError, match=r"returns the pair \(x, new_state\), got float32\[2, 4\]; leave state out"):
        repeat(lambda p, s, x: x, params, x, state={}, unroll=unroll)
