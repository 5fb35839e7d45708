"""How GPT-2 writes: with keys and values of the past, and beyond its context."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ACTIVATIONS, check_config
from jaxnets.decode import loop as drawing
from jaxnets.decode.prompts import prepare_prompts, round_up
from jaxnets.decode.sampling import Sampling, traced_rules
from jaxnets.decode.step import Step, last_real, read_prompt
from jaxnets.label_check import is_here
from jaxnets.layer import names_errors
from jaxnets.models.caches import empty_caches
from jaxnets.models.gpt import GPTConfig, gpt_features
from jaxnets.repeat import unstack
from jaxnets.types import Array, ArrayLike, DTypeLike, Key, Params

_CHUNK = 128
"""How many tokens of a prompt are read at once."""


def gpt_carry(
    config: GPTConfig, params: Params, *, batch: int, capacity: int, dtype: DTypeLike | None = None
) -> list[Any]:
    """Make the carry of `gpt_step`: an empty cache of keys and values for each block.

    Args:
        config: of the network, `model.config`.
        params: of a `gpt`.
        batch: the number of sequences.
        capacity: how many tokens the cache can hold for each sequence.
        dtype: of the cached keys and values; None for that of the parameters.

    Returns:
        A list of `{"key", "value", "length"}`, one for each block, as `nn.cached_attention` takes them.

    Raises:
        TypeError: if the config is of another class.
        ValueError: if the capacity is not positive.

    Example:
        >>> from jaxnets.models import gpt
        >>> model = gpt(GPTConfig(vocabulary=65, context=8, layers=2, heads=2, features=16))
        >>> params, _ = model.init(jax.random.key(0))
        >>> [cache["key"].shape for cache in gpt_carry(model.config, params, batch=3, capacity=8)]
        [(3, 2, 8, 8), (3, 2, 8, 8)]
    """
    check_config(config, GPTConfig)
    dtype = params["tokens"]["embedding"].dtype if dtype is None else dtype
    return empty_caches(params["blocks"], batch=batch, capacity=capacity, dtype=dtype)


def gpt_step(config: GPTConfig, params: Params) -> Step:
    """Make the step of the network for `jaxnets.decode`: it reads tokens with the keys and values of those before.

    Args:
        config: of the network, `model.config`.
        params: of a `gpt`.

    Returns:
        `step(carry, ids, lengths=None) -> (logits, carry)`, with the carry of `gpt_carry`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> from jaxnets import decode
        >>> from jaxnets.models import gpt
        >>> model = gpt(GPTConfig(vocabulary=65, context=8, layers=2, heads=2, features=16))
        >>> params, state = model.init(jax.random.key(0))
        >>> ids = jnp.array([[1, 2, 3]])
        >>> logits, _ = gpt_step(model.config, params)(gpt_carry(model.config, params, batch=1, capacity=8), ids)
        >>> bool(jnp.allclose(logits, model.apply(params, state, ids, train=False)[0][:, -1], atol=1e-5))
        True

    Warning:
        A sequence longer than the capacity or the context has no meaning: logits are NaN, or those of wrong positions.
    """
    check_config(config, GPTConfig)
    blocks = unstack(params["blocks"])
    block = functools.partial(nn.cached_transformer_block, activation=ACTIVATIONS[config.activation])

    def step(carry: list[Any], ids: Array, lengths: Array | None = None, /) -> tuple[Array, list[Any]]:
        positions = carry[0]["length"][:, None] + jnp.arange(ids.shape[1], dtype=jnp.int32)[None]
        positions = jnp.clip(positions, 0, params["positions"]["embedding"].shape[0] - 1)
        x = nn.embedding(params["tokens"], ids) + nn.embedding(params["positions"], positions)
        caches = []
        for block_params, cache in zip(blocks, carry, strict=True):
            x, cache = block(block_params, cache, x, lengths=lengths)
            caches.append(cache)
        return _logits(params, last_real(x, lengths)), caches

    return step


def window_carry(config: GPTConfig, *, batch: int) -> dict[str, Array]:
    """Make the carry of `window_step`: no tokens.

    Example:
        >>> window_carry(GPTConfig(context=8), batch=3)["ids"].shape
        (3, 8)
    """
    return {"ids": jnp.zeros((batch, config.context), jnp.int32), "length": jnp.zeros(batch, jnp.int32)}


def window_step(config: GPTConfig, params: Params) -> Step:
    """Make the step that reads the last tokens again each time, as many as the context holds.

    Learned positions make keys and values of the past useless once the window moves, so a token costs a pass over the
    context. The carry, of `window_carry`, is the tokens.

    Args:
        config: of the network, `model.config`.
        params: of a `gpt`.

    Returns:
        `step(carry, ids, lengths=None) -> (logits, carry)`; sequences may have any length.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> from jaxnets.models import gpt
        >>> model = gpt(GPTConfig(vocabulary=65, context=4, layers=1, heads=2, features=16))
        >>> params, _ = model.init(jax.random.key(0))
        >>> step, carry = window_step(model.config, params), window_carry(model.config, batch=1)
        >>> step(carry, jnp.array([[1, 2, 3, 4, 5, 6]]))[1]["ids"]
        Array([[3, 4, 5, 6]], dtype=int32)
    """
    check_config(config, GPTConfig)
    config = _without_dropout(config)

    def step(carry: dict[str, Array], ids: Array, lengths: Array | None = None, /) -> tuple[Array, dict[str, Array]]:
        new = jnp.full(ids.shape[0], ids.shape[1], jnp.int32) if lengths is None else lengths
        total = carry["length"] + new
        row = jnp.arange(ids.shape[1], dtype=jnp.int32)[None]
        places = jnp.where(row < new[:, None], carry["length"][:, None] + row, config.context + ids.shape[1])
        wide = jnp.pad(carry["ids"], ((0, 0), (0, ids.shape[1])))
        wide = jax.vmap(lambda tokens, at, values: tokens.at[at].set(values, mode="drop"))(wide, places, ids)
        gone = jnp.maximum(total - config.context, 0)
        window = jax.vmap(lambda tokens, start: jax.lax.dynamic_slice_in_dim(tokens, start, config.context))(wide, gone)
        kept = total - gone
        logits = _logits(params, last_real(gpt_features(config, params, window, train=False), kept))
        return logits, {"ids": window, "length": kept}

    return step


@names_errors
def generate_tokens(
    config: GPTConfig,
    params: Params,
    prompt: ArrayLike | Sequence[Sequence[int]],
    length: int,
    *,
    lengths: ArrayLike | None = None,
    sampling: Sampling = Sampling(),
    stop: Sequence[int] = (),
    when_full: Literal["recompute", "stop"] = "recompute",
    key: Key | None = None,
) -> drawing.Tokens:
    """Draw tokens one after the other, each after as many as the context holds.

    Keys and values of the past are kept until a sequence fills the context. Compiled once for each config, length and
    size of the prompts, inside of `jit` and outside of it; prompts that are no arrays of JAX are padded to powers of
    two.

    Args:
        config: of the network, `model.config`.
        params: of a trained `gpt`.
        prompt: lists of ids, which may have different lengths, or ids `[batch, time]`; at least one token each.
        length: how many tokens to draw at most.
        lengths: `[batch]`, how many tokens of each prompt are real if it is an array, the others being at its end; None
            for all. `decode.align_prompts` moves prompts that are padded in front.
        sampling: how tokens are drawn.
        stop: tokens that end a sequence.
        when_full: what happens when a sequence fills the context. `"recompute"`: from then on each token is drawn after
            the last ones that the context holds, and costs a pass over them. `"stop"`: it ends.
        key: random key; None if the likeliest tokens are taken.

    Returns:
        The tokens `[batch, length]`, their log-probabilities, and which are real.

    Raises:
        TypeError: if the config is of another class, or the prompt does not hold integers.
        ValueError: if a prompt is empty or holds what is no token, lengths do not fit it, a rule of sampling is out of
            range, or the key is missing.

    Example:
        >>> from jaxnets.models import gpt
        >>> model = gpt(GPTConfig(vocabulary=65, context=8, layers=1, heads=2, features=16))
        >>> params, _ = model.init(jax.random.key(0))
        >>> generate_tokens(model.config, params, [[1, 2], [3]], 12, key=jax.random.key(1)).ids.shape
        (2, 12)
    """
    check_config(config, GPTConfig)
    if when_full not in ("recompute", "stop"):
        raise ValueError(f"when_full must be 'recompute' or 'stop', got {when_full!r}")
    ids, counts = prepare_prompts(prompt, lengths, largest=config.context, vocabulary=config.vocabulary)
    drawing.check_generation(ids, length, sampling, key)
    if when_full == "stop" and ids.shape[1] > config.context:
        longest = int(jnp.max(counts)) if is_here(counts) else ids.shape[1]
        if longest > config.context:
            raise ValueError(f"prompts of {longest} tokens are more than the context of {config.context}")
        ids = ids[:, : config.context]
    key = jax.random.key(0) if key is None else key  # of no effect
    rules = traced_rules(sampling)
    tokens: drawing.Tokens = _generate(
        _without_dropout(config), params, ids, counts, length, rules, sampling.top_k, tuple(stop), when_full, key
    )
    return tokens


@functools.partial(jax.jit, static_argnames=("config", "length", "top_k", "stop", "when_full"))
def _generate(
    config: GPTConfig,
    params: Params,
    prompt: Array,
    lengths: Array,
    length: int,
    rules: Sampling,
    top_k: int | None,
    stop: tuple[int, ...],
    when_full: str,
    key: Key,
) -> drawing.Tokens:
    batch, width = prompt.shape
    sampling = rules._replace(top_k=top_k)
    settings: dict[str, Any] = {"sampling": sampling, "stop": stop, "pad": 0, "key": key}
    begin = functools.partial(drawing.begin, prompt=prompt, length=length, lengths=lengths, sampling=sampling, pad=0)
    limits = jnp.maximum(config.context - lengths, 0) if when_full == "stop" else None
    again = window_step(config, params)
    if width > config.context:
        logits, window = read_prompt(again, window_carry(config, batch=batch), prompt, lengths)
        return drawing.run(again, begin(logits, window), length, limits=limits, read_last=False, **settings).drawn

    step = gpt_step(config, params)
    capacity = min(round_up(width + length), config.context) + 1  # the last token is read, too
    carry = gpt_carry(config, params, batch=batch, capacity=capacity)
    logits, carry = read_prompt(step, carry, prompt, lengths, chunk=_CHUNK)
    full = config.context - jnp.max(lengths, initial=1)
    until = length if when_full == "stop" else jnp.minimum(length, full)
    complete = when_full == "stop" or width + length <= config.context
    loop = drawing.run(step, begin(logits, carry), until, limits=limits, read_last=not complete, **settings)
    if complete:
        return loop.drawn
    # Both the prompt and what was drawn are read once more, for the window.
    _, window = read_prompt(again, window_carry(config, batch=batch), prompt, lengths)
    drawn = jnp.sum(loop.drawn.real, axis=1, dtype=jnp.int32)
    _, window = again(window, loop.drawn.ids, drawn)
    return drawing.run(again, loop._replace(carry=window), length, limits=limits, read_last=False, **settings).drawn


def _logits(params: Params, x: Array) -> Array:
    logits: Array = nn.tied_logits(params["tokens"], nn.layer_norm(params["norm"], x))
    return logits


def _without_dropout(config: GPTConfig) -> GPTConfig:
    """What is for training only would make another program."""
    return dataclasses.replace(config, dropout_rate=0.0, attention_dropout_rate=0.0, remat=False)
