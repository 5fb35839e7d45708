"""Decoding with a cache against causal attention to the whole sequence."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import init, nn
from tests.oracles import normal

SPEC = nn.attention_spec(12, heads=4, kv_heads=2, head_dim=6)
PARAMS, _ = init(SPEC, jax.random.key(0))
ROTARY = functools.partial(nn.rotary, features=4, interleaved=True)

append = jax.jit(functools.partial(nn.cached_attention, PARAMS), static_argnames="rotary")
attend = jax.jit(functools.partial(nn.attention, PARAMS, causal=True), static_argnames="rotary")


def empty(batch=2, capacity=8, dtype=None):
    return init(nn.attention_cache_spec(SPEC, batch=batch, capacity=capacity, dtype=dtype), jax.random.key(0))[1]


def shapes(tree):
    return jax.tree.map(lambda a: (a.shape, a.dtype), tree)


@pytest.mark.parametrize("rotary", [None, ROTARY], ids=["no-positions", "rotary"])
@pytest.mark.parametrize("pieces", [(7,), (4, 1, 1, 1), (2, 3, 2)])
def test_pieces_equal_the_whole(pieces, rotary):
    x = jnp.asarray(normal(2, 7, 12))
    cache, results, start = empty(), [], 0
    for size in pieces:
        y, cache = append(cache, x[:, start : start + size], rotary=rotary)
        results.append(y)
        start += size
    whole = attend(x, rotary=rotary)
    np.testing.assert_allclose(jnp.concatenate(results, axis=1), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(cache["length"], [7, 7])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_decoding_in_a_scan_equals_the_whole_and_keeps_the_cache_as_it_is(dtype):
    x = jnp.asarray(normal(2, 8, 12), dtype)
    cache = empty(dtype=dtype)

    @jax.jit
    def decode(cache, x):
        def step(cache, token):
            y, cache = append(cache, token[:, None], rotary=ROTARY)
            return cache, y[:, 0]

        return jax.lax.scan(step, cache, x.swapaxes(0, 1))

    last, y = decode(cache, x)
    assert shapes(last) == shapes(cache)
    whole = attend(x, rotary=ROTARY)
    tolerance = 1e-6 if dtype == jnp.float32 else 0.05
    np.testing.assert_allclose(y.swapaxes(0, 1).astype(jnp.float32), whole.astype(jnp.float32), atol=tolerance)


def test_prompts_of_different_lengths_continue_where_each_ends():
    prompt, following = jnp.asarray(normal(3, 4, 12)), jnp.asarray(normal(3, 2, 12, seed=1))
    lengths = jnp.array([4, 1, 2])
    y, cache = append(empty(3, capacity=6), prompt, lengths=lengths, rotary=ROTARY)
    np.testing.assert_array_equal(cache["length"], lengths)
    z, cache = append(cache, following, rotary=ROTARY)
    for row, length in enumerate(map(int, lengths)):
        sequence = jnp.concatenate([prompt[row, :length], following[row]])
        whole = attend(sequence, rotary=ROTARY)
        np.testing.assert_allclose(y[row, :length], whole[:length], atol=1e-6)
        np.testing.assert_allclose(z[row], whole[length:], atol=1e-6)


def test_padding_may_reach_past_the_end_of_the_cache():
    x = jnp.asarray(normal(2, 4, 12))
    y, cache = append(empty(capacity=3), x, lengths=jnp.array([3, 1]))
    np.testing.assert_allclose(y[0, :3], attend(x[0, :3]), atol=1e-6)
    np.testing.assert_array_equal(cache["key"][1, :, 1:], 0)


def test_a_sequence_that_outgrows_its_cache_is_nan_and_stays_nan():
    x = jnp.asarray(normal(2, 3, 12))
    _, cache = append(empty(capacity=4), x, lengths=jnp.array([3, 1]))
    y, cache = append(cache, x[:, :2])
    assert jnp.all(jnp.isnan(y[0]))
    whole = attend(jnp.concatenate([x[1, :1], x[1, :2]]))
    np.testing.assert_allclose(y[1], whole[1:], atol=1e-6)
    y, cache = append(cache, x[:, :1], lengths=jnp.array([0, 1]))
    assert jnp.all(jnp.isnan(y[0]))
    assert jnp.all(jnp.isfinite(y[1]))


@pytest.mark.parametrize("lengths", [[4, 3], [-1, 3]])
def test_lengths_that_cannot_be_give_nan(lengths):
    x = jnp.asarray(normal(2, 3, 12))
    y, cache = append(empty(), x, lengths=jnp.array(lengths))
    assert jnp.all(jnp.isnan(y[0]))
    assert jnp.all(jnp.isfinite(y[1]))
    y, _ = append(cache, x[:, :1])
    assert jnp.all(jnp.isnan(y[0]))


def test_no_batch_axis_and_two_of_them():
    x = jnp.asarray(normal(2, 3, 5, 12))
    whole = attend(x)
    y, _ = append(empty((2, 3)), x)
    np.testing.assert_allclose(y, whole, atol=1e-6)
    y, _ = append(empty(()), x[0, 0])
    np.testing.assert_allclose(y, whole[0, 0], atol=1e-6)


def test_errors():
    x = jnp.ones((2, 3, 12))
    with pytest.raises(
        ValueError, match=r"cache must be \[2, 2, 'capacity', 6\] for x \[2, 3, 12\], got \[3, 2, 8, 6\]"
    ):
        append(empty(3), x)
    with pytest.raises(ValueError, match=r"the cache must hold key, value and length, got \['key'\]"):
        append({"key": x}, x)
    with pytest.raises(TypeError, match="lengths must be integers, got float32"):
        append(empty(), x, lengths=jnp.ones(2))
    with pytest.raises(ValueError, match=r"lengths must be \[2\] for x \[2, 3, 12\], got \[3\]"):
        append(empty(), x, lengths=jnp.ones(3, jnp.int32))
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        nn.attention_cache_spec(SPEC, batch=2, capacity=0)
