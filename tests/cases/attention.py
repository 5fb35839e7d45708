"""Cases of attention, rotary positions and the cache."""

import functools

import numpy as np

from jaxnets import nn
from tests.cases.case import Case, no_params, stateless
from tests.oracles import normal

SPEC = nn.attention_spec(12, heads=2)
HEAD = 4
WITH_HEAD_NORM = nn.attention_spec(12, heads=4, kv_heads=2, head_dim=HEAD, bias=False, head_norm=True)
SLOWED_ROTARY = functools.partial(nn.rotary, frequencies=nn.llama3_frequencies(HEAD, base=50.0, factor=4.0, context=20))
GROUPED = nn.attention_spec(12, heads=4, kv_heads=2, head_dim=4, bias=False)
X = normal(2, 5, 12)
MASK = np.random.default_rng(1).random((2, 1, 5, 5)) < 0.6


def self_attention(params, state, inputs, key):
    return nn.attention(params, inputs["x"], mask=inputs["mask"]), state


def cross_attention(params, state, inputs, key):
    return nn.attention(params, inputs["x"], inputs["memory"]), state


def dropped(params, state, inputs, key):
    return nn.attention(params, inputs, rate=0.3, key=key, train=True), state


def products(params, state, inputs, key):
    return nn.dot_product_attention(inputs["queries"], inputs["keys"], inputs["values"]), state


def cached(params, state, inputs, key):
    y, cache = nn.cached_attention(params["attention"], state["cache"], inputs[:, :3], rotary=nn.rotary)
    z, cache = nn.cached_attention(params["attention"], cache, inputs[:, 3:], rotary=nn.rotary)
    return (y, z), {"cache": cache}


def cached_block(params, state, inputs, key):
    y, cache = nn.cached_transformer_block(params["block"], state["cache"], inputs[:, :3], rotary=nn.rotary)
    z, cache = nn.cached_transformer_block(params["block"], cache, inputs[:, 3:], rotary=nn.rotary)
    return (y, z), {"cache": cache}


def block_dropped(params, state, inputs, key):
    settings = {"rotary": nn.rotary, "mask": MASK[:1], "activation": nn.relu}
    rates = {"dropout_rate": 0.2, "attention_dropout_rate": 0.3}
    return nn.transformer_block(params, inputs, key=key, train=True, **settings, **rates), state


def from_memory(params, state, inputs, key):
    memory = nn.attention_memory(params, inputs["memory"])
    return nn.attention(params, inputs["x"], memory), state


def decoder_block(params, state, inputs, key):
    return nn.transformer_decoder_block(params, inputs["x"], inputs["memory"], train=False), state


def decoder_block_dropping(params, state, inputs, key):
    rates = {"dropout_rate": 0.2, "attention_dropout_rate": 0.3, "norm_first": False, "memory_mask": MASK[:1, :, :, :4]}
    return nn.transformer_decoder_block(params, inputs["x"], inputs["memory"], key=key, train=True, **rates), state


def cached_decoder_block(params, state, inputs, key):
    memory, (x, rest) = inputs["memory"], (inputs["x"][:, :3], inputs["x"][:, 3:])
    y, cache = nn.cached_transformer_decoder_block(params["block"], state["cache"], x, memory)
    z, cache = nn.cached_transformer_decoder_block(params["block"], cache, rest, memory)
    return (y, z), {"cache": cache}


DECODER = nn.transformer_decoder_block_spec(12, heads=2, hidden=8, memory_features=7)
WITH_MEMORY = {"x": X, "memory": normal(2, 4, 7)}
GATED = {**nn.transformer_block_spec(12, heads=2, hidden=8, bias=False), "gate": nn.linear_spec(12, 8, bias=False)}
BLOCK = nn.transformer_block_spec(12, heads=2, kv_heads=1, bias=False)
PRODUCTS = {"queries": normal(2, 5, 4, 8), "keys": normal(2, 7, 2, 8, seed=1), "values": normal(2, 7, 2, 8, seed=2)}
ROTARY = functools.partial(nn.rotary, interleaved=True, features=4)
CASES = [
    Case(
        "attention-head-norm",
        (nn.attention,),
        WITH_HEAD_NORM,
        stateless(nn.attention, causal=True, rotary=SLOWED_ROTARY),
        X,
        slow=True,
    ),
    Case(
        "transformer-block",
        (nn.transformer_block,),
        nn.transformer_block_spec(12, heads=2, hidden=8),
        stateless(nn.transformer_block, causal=True, train=False),
        X,
    ),
    Case(
        "transformer-block-cached",
        (nn.cached_transformer_block,),
        {"block": BLOCK, "cache": nn.attention_cache_spec(BLOCK["attention"], batch=2, capacity=6)},
        cached_block,
        X,
        batched_state=True,
        slow=True,
    ),
    Case(
        "transformer-block-dropping",
        (nn.transformer_block,),
        BLOCK,
        block_dropped,
        X,
        random=True,
        tolerance=1e-4,
        slow=True,
    ),
    Case(
        "transformer-block-gated-rms",
        (nn.transformer_block,),
        GATED,
        stateless(nn.transformer_block, causal=True, norm=nn.rms_norm, activation=nn.silu, train=False),
        X,
    ),
    Case(
        "transformer-block-norm-last",
        (nn.transformer_block,),
        nn.transformer_block_spec(12, heads=2, hidden=8),
        stateless(nn.transformer_block, norm_first=False, train=False),
        X,
        slow=True,
    ),
    Case("transformer-decoder-block", (nn.transformer_decoder_block,), DECODER, decoder_block, WITH_MEMORY),
    Case(
        "transformer-decoder-block-dropping",
        (nn.transformer_decoder_block,),
        DECODER,
        decoder_block_dropping,
        WITH_MEMORY,
        random=True,
        slow=True,
    ),
    Case(
        "transformer-decoder-block-cached",
        (nn.cached_transformer_decoder_block,),
        {"block": DECODER, "cache": nn.attention_cache_spec(DECODER["attention"], batch=2, capacity=6)},
        cached_decoder_block,
        WITH_MEMORY,
        batched_state=True,
        slow=True,
    ),
    Case(
        "attention-memory",
        (nn.attention_memory, nn.attention),
        nn.attention_spec(12, heads=3, memory_features=7),
        from_memory,
        WITH_MEMORY,
    ),
    Case("attention-self", (nn.attention,), SPEC, stateless(nn.attention), X),
    Case("attention-causal", (nn.attention,), SPEC, stateless(nn.attention, causal=True), normal(2, 3, 4, 12)),
    Case("attention-masked", (nn.attention,), SPEC, self_attention, {"x": X, "mask": MASK}),
    Case(
        "attention-grouped-query-rotary",
        (nn.attention,),
        GROUPED,
        stateless(nn.attention, causal=True, rotary=nn.rotary),
        X,
    ),
    Case(
        "attention-cross",
        (nn.attention,),
        nn.attention_spec(12, heads=3, memory_features=7),
        cross_attention,
        {"x": X, "memory": normal(2, 4, 7)},
    ),
    Case("attention-dropout", (nn.attention,), SPEC, dropped, X, random=True, slow=True),
    Case(
        "attention-cached",
        (nn.cached_attention,),
        {"attention": GROUPED, "cache": nn.attention_cache_spec(GROUPED, batch=2, capacity=6)},
        cached,
        X,
        batched_state=True,
    ),
    Case("dot-product-attention", (nn.dot_product_attention,), {}, products, PRODUCTS),
    Case("rotary", (nn.rotary,), {}, no_params(nn.rotary, positions=np.arange(5)), normal(2, 5, 3, 8)),
    Case("rotary-interleaved", (nn.rotary,), {}, no_params(ROTARY, positions=np.arange(5)), normal(2, 5, 3, 8)),
]
