"""Attention of recurrent decoders, against the formulas written in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import init, nn
from tests.oracles import normal
from tests.torch_oracle import assert_parity

QUERIES, MEMORY = normal(2, 3, 4, seed=1), normal(2, 5, 6, seed=2)
KEYS = np.array([[True, True, True, False, False], [True, False, True, True, True]])
PAIRS = np.arange(30).reshape(2, 3, 5) % 4 != 0
MASKS = {"everywhere": None, "keys": KEYS, "keys of each query": PAIRS}


def contexts(scores, memory, mask):
    """The weighted sums in PyTorch; a mask of keys is for all queries."""
    if mask is not None:
        mask = torch.tensor(mask if mask.ndim == 3 else np.repeat(mask[:, None], 3, axis=1))
        scores = scores.masked_fill(~mask, -torch.inf)
    weights = torch.softmax(scores, dim=-1)
    return weights @ memory, weights


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_additive_is_bahdanaus(mask):
    params = {
        "query": {"kernel": normal(4, 7, seed=3), "bias": normal(7, seed=4)},
        "memory": {"kernel": normal(6, 7, seed=5)},
        "score": normal(7, seed=6),
    }

    def theirs(params, queries, memory):
        rows = []
        for i in range(3):  # one query after the other, as the paper has it
            query = queries[:, i] @ params["query"]["kernel"] + params["query"]["bias"]
            keys = torch.matmul(memory, params["memory"]["kernel"])
            rows.append((torch.tanh(query[:, None] + keys) * params["score"]).sum(dim=-1))
        return contexts(torch.stack(rows, dim=1), memory, mask)

    assert_parity(lambda *given: nn.additive_attention(*given, mask=mask), theirs, params, QUERIES, MEMORY)

    def projected(params, queries, memory):
        known = nn.linear(params["memory"], memory)
        return nn.additive_attention(params, queries, memory, mask=mask, projected=known)

    assert_parity(projected, theirs, params, QUERIES, MEMORY)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_multiplicative_is_luongs_general(mask):
    def theirs(params, queries, memory):
        pairs = [queries[:, :, None].expand(2, 3, 5, 4), memory[:, None].expand(2, 3, 5, 6)]
        flat = [side.reshape(30, -1) for side in pairs]
        scores = torch.nn.functional.bilinear(*flat, params["kernel"][None])
        return contexts(scores.reshape(2, 3, 5), memory, mask)

    assert_parity(
        lambda *given: nn.multiplicative_attention(*given, mask=mask),
        theirs,
        {"kernel": normal(4, 6, seed=3)},
        QUERIES,
        MEMORY,
    )


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_without_a_kernel_it_is_pytorchs_dot_product_attention(mask):
    queries, memory = normal(2, 3, 6, seed=7), MEMORY

    def theirs(queries, memory):
        at = None if mask is None else torch.tensor(mask if mask.ndim == 3 else np.repeat(mask[:, None], 3, axis=1))
        return torch.nn.functional.scaled_dot_product_attention(queries, memory, memory, attn_mask=at, scale=1.0)

    def ours(queries, memory):
        return nn.multiplicative_attention({}, queries, memory, mask=mask)[0]

    assert_parity(ours, theirs, queries, memory)


def parameters(attention):
    if attention is nn.multiplicative_attention:
        return {"kernel": jnp.asarray(normal(4, 6))}
    return init(nn.additive_attention_spec(4, 6, 7), jax.random.key(0))[0]


both = pytest.mark.parametrize("attention", [nn.additive_attention, nn.multiplicative_attention])


@both
def test_what_is_masked_has_no_influence(attention):
    params, mask = parameters(attention), jnp.asarray(KEYS)
    other = np.where(KEYS[..., None], MEMORY, np.float32(1e6))
    contexts, weights = attention(params, QUERIES, jnp.asarray(MEMORY), mask=mask)
    again, _ = attention(params, QUERIES, jnp.asarray(other), mask=mask)
    np.testing.assert_array_equal(contexts, again)
    assert not weights[:, :, ~KEYS[1]][1].any()
    alone, _ = attention(params, QUERIES[:1], jnp.asarray(MEMORY[:1, :3]))
    np.testing.assert_allclose(contexts[:1], alone, rtol=1e-5, atol=1e-6)


@both
@pytest.mark.parametrize(
    ("queries", "memory", "error", "message"),
    [
        ((2, 3, 4), (5, 6), ValueError, r"same leading axes, got \[2, 3, 4\] and \[5, 6\]"),
        ((4,), (5, 6), ValueError, r"same leading axes, got \[4\] and \[5, 6\]"),
        ((3, 5), (5, 6), ValueError, r"last axis must be 4 .*, got x \[3, 5\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(attention, queries, memory, error, message):
    with pytest.raises(error, match=message):
        attention(parameters(attention), jnp.asarray(normal(*queries)), jnp.asarray(normal(*memory)))


@both
def test_masks_of_another_kind_are_refused(attention):
    given = parameters(attention), jnp.asarray(QUERIES), jnp.asarray(MEMORY)
    with pytest.raises(TypeError, match="mask must be a boolean array, True to attend, got float32"):
        attention(*given, mask=jnp.ones((2, 5)))
    with pytest.raises(TypeError, match="mask must be a boolean array, True to attend, got list"):
        attention(*given, mask=[[True] * 5] * 2)
    for shape in ((5,), (1, 5), (2, 4), (3, 5), (2, 1, 5)):
        with pytest.raises(ValueError, match=r"mask must be \[2, 5\] or \[2, 3, 5\], got"):
            attention(*given, mask=jnp.ones(shape, bool))


def test_other_arrays_of_another_kind_are_refused():
    params, memory = parameters(nn.additive_attention), jnp.asarray(MEMORY)
    with pytest.raises(TypeError, match="queries must be floating point, got int32"):
        nn.additive_attention(params, jnp.ones((2, 3, 4), jnp.int32), memory)
    with pytest.raises(ValueError, match=r"projected must be \[2, 5, 7\], linear\(.*\), got \[5, 7\]"):
        nn.additive_attention(params, jnp.asarray(QUERIES), memory, projected=jnp.ones((5, 7)))
    with pytest.raises(ValueError, match=r"last axis must be 6 .*, got queries \[2, 3, 4\]"):
        nn.multiplicative_attention({}, jnp.asarray(QUERIES), memory)
