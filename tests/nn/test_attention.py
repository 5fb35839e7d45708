"""Attention against PyTorch: values and gradients, masks, choice of implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from jaxnets import init, nn, subkey, torch_defaults
from jaxnets.kernels import blocked_attention
from tests.oracles import assert_close, normal, permissive_promotion
from tests.torch_oracle import assert_parity

IMPLEMENTATIONS = ["einsum", "blocks", "xla"]
MASK = np.array(
    [[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [1, 1, 1, 1]], bool
)  # row 1 attends to nothing


@pytest.fixture(autouse=True, scope="module")
def blocks_of_two_queries():
    """Short sequences are in blocks, too: five queries in two blocks of two and one of a single query."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked_attention, "_BLOCKS", 3)
        patch.setattr(blocked_attention, "_FASTER_FROM", 2)
        yield


def qkv(heads=4, kv_heads=2, queries=5, keys=4, features=8, leading=(2,)):
    kv = (*leading, keys, kv_heads, features)
    return normal(*leading, queries, heads, features), normal(*kv, seed=1), normal(*kv, seed=2)


def torch_attention(q, k, v, mask=None, causal=False, scale=None):
    """PyTorch's, with heads after time and key heads repeated for their groups."""
    repeats = q.shape[-2] // k.shape[-2]
    q, k, v = (t.transpose(-3, -2) for t in (q, k.repeat_interleave(repeats, -2), v.repeat_interleave(repeats, -2)))
    mask = None if mask is None else torch.tensor(mask)
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale)
    return y.transpose(-3, -2)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "mask"])
def test_products_equal_torch(implementation, kv_heads, mask):
    assert_parity(
        lambda q, k, v: nn.dot_product_attention(q, k, v, mask=mask, implementation=implementation),
        lambda q, k, v: torch_attention(q, k, v, mask),
        *qkv(kv_heads=kv_heads),
    )


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("mask", [None, MASK[:, :1]], ids=["all", "mask"])
def test_causal_products_equal_torch(implementation, mask):
    allowed = np.tril(np.ones((5, 5), bool)) & (True if mask is None else mask)
    assert_parity(
        lambda q, k, v: nn.dot_product_attention(
            q, k, v, mask=mask, causal=True, scale=0.7, implementation=implementation
        ),
        lambda q, k, v: torch_attention(q, k, v, allowed, scale=0.7),
        *qkv(keys=5),
    )


@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    leading=st.sampled_from([(), (2,), (2, 3)]),
    full_rank=st.booleans(),
    kept=st.lists(st.booleans(), min_size=5, max_size=5),
    implementation=st.sampled_from(IMPLEMENTATIONS),
)
def test_every_shape_of_mask_equals_torch(leading, full_rank, kept, implementation):
    full = (*leading, 4, 5, 4)
    shape = full if full_rank else full[-2:]
    shape = tuple(size if keep else 1 for size, keep in zip(shape, kept[-len(shape) :], strict=True))
    mask = np.random.default_rng(3).random(shape) < 0.6
    q, k, v = qkv(leading=leading)
    actual = jax.jit(lambda *a: nn.dot_product_attention(*a, mask=mask, implementation=implementation))(q, k, v)
    expected = torch_attention(*map(torch.tensor, (q, k, v)), np.broadcast_to(mask, full).copy())
    assert_close(actual, expected)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_bfloat16_products_are_near_float32(implementation):
    q, k, v = (jnp.asarray(a, jnp.bfloat16) for a in qkv(keys=5))

    def loss(args):
        y = nn.dot_product_attention(*args, mask=MASK[:, :1], causal=True, implementation=implementation)
        return jnp.sum(jnp.sin(y.astype(jnp.float32)))

    with permissive_promotion():  # jax.nn's gradient mixes dtypes
        low, low_gradients = jax.jit(jax.value_and_grad(loss))((q, k, v))
    full, full_gradients = jax.jit(jax.value_and_grad(loss))(tuple(a.astype(jnp.float32) for a in (q, k, v)))
    assert [g.dtype for g in low_gradients] == [jnp.bfloat16] * 3
    np.testing.assert_allclose(low, full, rtol=0.02)
    for a, e in zip(low_gradients, full_gradients, strict=True):
        np.testing.assert_allclose(a.astype(jnp.float32), e, atol=0.02 * np.max(np.abs(e)))


def torch_multi_head(params, x, memory, heads, **settings):
    """PyTorch's MultiheadAttention (time first) with our parameters."""
    weight = {name: params[name]["kernel"].flatten(1).T for name in ("query", "key", "value")}
    out = params["out"]["kernel"].flatten(0, 1).T
    y, _ = torch.nn.functional.multi_head_attention_forward(
        x.transpose(0, 1),
        memory.transpose(0, 1),
        memory.transpose(0, 1),
        x.shape[-1],
        heads,
        None,
        torch.cat([params[name]["bias"].flatten() for name in ("query", "key", "value")]),
        None,
        None,
        False,
        0.0,
        out,
        params["out"]["bias"],
        use_separate_proj_weight=True,
        q_proj_weight=weight["query"],
        k_proj_weight=weight["key"],
        v_proj_weight=weight["value"],
        **settings,
    )
    return y.transpose(0, 1)


def parameters(**sizes):
    params, _ = init(nn.attention_spec(12, heads=3, **sizes), jax.random.key(0))
    return jax.tree.map(lambda p: normal(*p.shape, seed=p.size) / 3, params)


def test_self_attention_equals_torch():
    assert_parity(
        nn.attention, lambda p, x: torch_multi_head(p, x, x, 3), parameters(), normal(2, 5, 12), rtol=1e-4, atol=1e-4
    )


def test_causal_self_attention_with_padding_equals_torch():
    lengths = np.array([5, 3])
    padded = torch.tensor(np.arange(5) >= lengths[:, None])
    later = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1)
    assert_parity(
        lambda p, x: nn.attention(p, x, causal=True, mask=nn.padding_mask(lengths, 5)),
        lambda p, x: torch_multi_head(p, x, x, 3, key_padding_mask=padded, attn_mask=later),
        parameters(),
        normal(2, 5, 12),
        rtol=1e-4,
        atol=1e-4,
    )


def test_cross_attention_to_other_sizes_equals_torch():
    assert_parity(
        nn.attention,
        lambda p, x, memory: torch_multi_head(p, x, memory, 3),
        parameters(memory_features=7),
        normal(2, 5, 12),
        normal(2, 6, 7, seed=1),
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_query_that_may_attend_to_nothing_gets_the_bias_and_finite_gradients():
    params, x = jax.tree.map(jnp.asarray, parameters()), jnp.asarray(normal(2, 5, 12))
    mask = jnp.zeros((5, 5), bool).at[1:].set(True)
    y = nn.attention(params, x, mask=mask)
    np.testing.assert_allclose(y[:, 0], np.broadcast_to(params["out"]["bias"], (2, 12)), rtol=1e-6)
    gradients = jax.grad(lambda p, x: jnp.sum(nn.attention(p, x, mask=mask)[:, 0]), (0, 1))(params, x)
    assert all(bool(jnp.all(jnp.isfinite(g))) for g in jax.tree.leaves(gradients))
    np.testing.assert_array_equal(gradients[1], 0)


def test_rotary_attention_ignores_a_shift_of_all_positions_but_not_of_one():
    params, x = parameters(), jnp.asarray(normal(2, 5, 12))
    plain = nn.attention(params, x, rotary=nn.rotary)
    np.testing.assert_allclose(nn.attention(params, x, rotary=nn.rotary, positions=jnp.arange(5) + 9), plain, atol=1e-5)
    moved = nn.attention(params, x, rotary=nn.rotary, positions=jnp.arange(5).at[4].set(9))
    assert float(jnp.max(jnp.abs(moved - plain))) > 1e-3


def test_dropout_keeps_the_mean_and_drops_the_stated_share():
    values = jnp.ones((1, 1000, 1, 2))  # equal weights of 1/1000: the result is the share kept / (1 - rate)
    zeros, key = jnp.zeros((1, 1000, 1, 2)), jax.random.key(0)
    y = nn.dot_product_attention(zeros, zeros, values, rate=0.25, key=key, train=True)
    np.testing.assert_allclose(jnp.mean(y), 1, atol=0.002)
    np.testing.assert_allclose(jnp.std(y[..., 0]), np.sqrt(0.25 / 0.75 / 1000), rtol=0.1)
    same = nn.dot_product_attention(zeros, zeros, values, rate=0.25, key=key, train=False)
    np.testing.assert_allclose(same, 1, rtol=1e-5)
    none = nn.dot_product_attention(zeros, zeros, values, rate=1.0, key=key, train=True)
    np.testing.assert_array_equal(none, 0)


def test_causal_mask_and_padding_mask():
    np.testing.assert_array_equal(nn.causal_mask(4, 4), torch.ones(4, 4).tril())
    np.testing.assert_array_equal(nn.causal_mask(2, 4, offset=2), [[1, 1, 1, 0], [1, 1, 1, 1]])
    assert nn.padding_mask(jnp.array([[1, 2]]), 3).shape == (1, 2, 1, 1, 3)
    np.testing.assert_array_equal(nn.sequence_mask(jnp.array([0, 3, 1]), 3), np.tri(4, 3, -1)[[0, 3, 1]])
    with pytest.raises(TypeError, match="lengths must be integers, got float32"):
        nn.padding_mask(jnp.ones(2), 3)


def test_torch_defaults_have_torch_bounds():
    for sizes, theirs in (
        ({}, torch.nn.MultiheadAttention(120, 4)),
        ({"memory_features": 60}, torch.nn.MultiheadAttention(120, 4, kdim=60, vdim=60)),
    ):
        params, _ = init(torch_defaults(nn.attention_spec(120, heads=4, **sizes)), jax.random.key(0))
        stacked = [theirs.in_proj_weight] * 3 if not sizes else []
        weights = stacked or [theirs.q_proj_weight, theirs.k_proj_weight, theirs.v_proj_weight]
        for name, weight in zip(("query", "key", "value", "out"), [*weights, theirs.out_proj.weight], strict=True):
            bound = np.max(np.abs(weight.detach().numpy()))
            np.testing.assert_allclose(np.max(np.abs(params[name]["kernel"])), bound, rtol=2e-3)
            np.testing.assert_array_equal(params[name]["bias"], 0)


def test_default_kernels_have_variance_one_over_inputs():
    params, _ = init(nn.attention_spec(96, heads=8, head_dim=32, memory_features=48), jax.random.key(0))
    deviations = {name: float(np.std(part["kernel"])) ** -2 for name, part in params.items()}
    assert deviations == pytest.approx({"query": 96, "key": 48, "value": 48, "out": 256}, rel=0.05)


def test_layer_errors():
    params = parameters()
    x = jnp.ones((2, 5, 12))
    for message, kwargs in (
        (
            r"mask must be \[queries, keys\] = \[5, 5\] or .* \[2, 3, 5, 5\].*got \[2, 5\]",
            {"mask": np.ones((2, 5), bool)},
        ),
        (r"got \[3, 5, 5\]", {"mask": np.ones((3, 5, 5), bool)}),
        ("rotary positions relate positions of one sequence", {"memory": x, "rotary": nn.rotary}),
        ("positions are for rotary", {"positions": jnp.arange(5)}),
        (r"attention: last axis must be 12 .*, got memory \[2, 5, 7\]", {"memory": jnp.ones((2, 5, 7))}),
        ("causal=True needs as many keys as queries, got 5 queries and 4", {"memory": x[:, :4], "causal": True}),
        ("with rate 0.1, pass train=True or train=False", {"rate": 0.1}),
        ("dropping weights needs a random key; pass key=subkey", {"rate": 0.1, "train": True}),
        ("leading axes and head_dim of the queries", {"memory": x[:1]}),
        ("at least one key", {"memory": x[:, :0]}),
    ):
        with pytest.raises(ValueError, match=message):
            nn.attention(params, x, **kwargs)
    with pytest.raises(TypeError, match="mask must be boolean, True to attend, got float32"):
        nn.attention(params, x, mask=jnp.ones((5, 5)))
    with pytest.raises(TypeError, match="must have one dtype, got float32, bfloat16, bfloat16"):
        nn.attention(params, x, memory=x.astype(jnp.bfloat16))
    with pytest.raises(ValueError, match=r"x must be \[..., time, features\], got \[12\]"):
        nn.attention(params, x[0, 0])
    with pytest.raises(ValueError, match="heads must be a multiple of kv_heads, got 4 and 3"):
        nn.attention_spec(12, heads=4, kv_heads=3)
    with pytest.raises(ValueError, match="features 12 must be a multiple of heads 5; or pass head_dim"):
        nn.attention_spec(12, heads=5)
    with pytest.raises(ValueError, match="multiple of kv_heads, got 2 and 3"):
        nn.dot_product_attention(jnp.ones((1, 2, 4)), jnp.ones((1, 3, 4)), jnp.ones((1, 3, 4)))
    with pytest.raises(ValueError, match="'xla' cannot drop weights"):
        nn.dot_product_attention(
            *[jnp.ones((1, 2, 4))] * 3, rate=0.5, key=jax.random.key(0), train=True, implementation="xla"
        )


def test_dropout_in_the_layer_depends_on_the_key_alone():
    params, x, key = parameters(), jnp.asarray(normal(2, 5, 12)), jax.random.key(0)
    first, again, other = (nn.attention(params, x, rate=0.5, key=k, train=True) for k in (key, key, subkey(key, 1)))
    np.testing.assert_array_equal(first, again)
    assert float(jnp.max(jnp.abs(first - other))) > 1e-3
    np.testing.assert_array_equal(nn.attention(params, x, rate=0.5, train=False), nn.attention(params, x))


@pytest.mark.parametrize(("dtype", "length", "size"), [("uint8", 200, 300), ("int8", 100, 200), ("int16", 5, 40_000)])
def test_lengths_of_small_types_count_all_positions(dtype, length, size):
    mask = nn.padding_mask(np.array([length], dtype), size)
    np.testing.assert_array_equal(mask[0, 0, 0], np.arange(size) < length)


def test_sums_beyond_the_range_of_float16_are_right():
    """64 * 40 * 40 = 102,400 and 1,000 * 100 are more than 65,504, the largest number of float16."""
    large = jnp.full((1, 2, 1, 64), 40, jnp.float16)
    y = nn.dot_product_attention(large, large, jnp.ones((1, 2, 1, 64), jnp.float16))
    np.testing.assert_array_equal(y, 1)
    keys = jnp.zeros((1, 1000, 1, 8), jnp.float16)

    def mean_of(values):
        return nn.dot_product_attention(keys[:, :1], keys, values)

    values = jnp.full_like(keys, 100)
    np.testing.assert_array_equal(mean_of(values), 100)
    gradient = jax.grad(lambda v: jnp.sum(mean_of(v).astype(jnp.float32)))(values)
    np.testing.assert_allclose(gradient.astype(jnp.float32), 1e-3, rtol=1e-3)


@pytest.mark.parametrize("shape", [(0, 4, 8), (2, 0, 8)])
def test_nothing_in_gives_nothing_out(shape):
    """PyTorch's attention returns an empty result, too."""
    spec = nn.attention_spec(8, heads=2)
    params, _ = init(spec, jax.random.key(0))
    x, memory = jnp.zeros(shape), jnp.ones((shape[0], 3, 8))
    assert nn.attention(params, x, memory).shape == shape
    _, cache = init(nn.attention_cache_spec(spec, batch=shape[0], capacity=5), jax.random.key(0))
    y, after = nn.cached_attention(params, cache, x)
    assert y.shape == shape
    np.testing.assert_array_equal(after["length"], shape[1] * np.ones(shape[0]))
    block, _ = init(nn.transformer_block_spec(8, heads=2), jax.random.key(0))
    assert nn.transformer_block(block, jnp.zeros((0, 4, 8)), train=False).shape == (0, 4, 8)
