"""The loop of drawing: begun after a prompt, and run with a step."""

from __future__ import annotations

import operator
from collections.abc import Sequence, Set
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.decode.prompts import check_prompt
from jaxnets.decode.sampling import Sampling, check_sampling, draw, is_greedy
from jaxnets.decode.step import Step, choose
from jaxnets.devices import vary_together
from jaxnets.nn.check import compute_dtype
from jaxnets.random import subkey
from jaxnets.types import Array, Key


class Tokens(NamedTuple):
    """Tokens that were drawn.

    Attributes:
        ids: int32 `[batch, length]`; behind the end of a sequence the padding.
        log_probs: `[batch, length]`, of each token by log_softmax(logits), before any rule of sampling; 0 behind the
            end.
        real: bool `[batch, length]`: which tokens were drawn. A token that ends a sequence is one of them.
    """

    ids: Array
    log_probs: Array
    real: Array


class Loop(NamedTuple):
    """The state of the loop that draws: how many tokens, for which sequences it goes on, and what the next draw
    needs.
    """

    n: Array
    active: Array
    logits: Array
    carry: Any
    seen: Array | None
    drawn: Tokens


def begin(
    logits: Array, carry: Any, prompt: Array, length: int, *, lengths: Array | None, sampling: Sampling, pad: int
) -> Loop:
    """The state of the loop after a prompt: nothing is drawn."""
    batch, vocabulary = logits.shape
    drawn = Tokens(
        jnp.full((batch, length), pad, jnp.int32),
        jnp.zeros((batch, length), compute_dtype(logits)),
        jnp.zeros((batch, length), bool),
    )
    seen = None if sampling.repetition_penalty is None else _occurring(prompt, lengths, vocabulary)
    return Loop(jnp.int32(0), jnp.ones(batch, bool), logits, carry, seen, drawn)


def run(
    step: Step,
    loop: Loop,
    until: int | Array,
    *,
    sampling: Sampling,
    stop: Sequence[int],
    limits: Array | None,
    pad: int,
    key: Key | None,
    read_last: bool = True,
) -> Loop:
    """Draw until there are `until` tokens, or all sequences have ended.

    Without `read_last`, the step does not read token `until`, which nothing comes after: the carry and the logits of
    the result are then of no use.
    """
    if not loop.drawn.ids.shape[1]:
        return loop  # an axis without entries cannot be indexed
    ends = stop_ids(stop)[None]
    rows = jnp.arange(loop.logits.shape[0], dtype=jnp.int32)
    loop = loop if limits is None else loop._replace(active=loop.active & (limits > 0))
    loop = vary_together(loop, key)

    def draw_one(loop: Loop) -> tuple[Array, Loop]:
        n, active, logits, _, seen, drawn = loop
        ids = jnp.where(active, draw(logits, sampling, subkey(key, n), seen), pad)
        log_probs = jax.nn.log_softmax(logits.astype(drawn.log_probs.dtype))[rows, ids]
        new = Tokens(ids, jnp.where(active, log_probs, 0), active)
        drawn = Tokens(*(array.at[:, n].set(column) for array, column in zip(drawn, new, strict=True)))
        if seen is not None:
            seen = seen.at[rows, ids].max(active)
        return ids, loop._replace(seen=seen, drawn=drawn)

    def body(loop: Loop) -> Loop:
        ids, (n, active, logits, carry, seen, drawn) = draw_one(loop)
        after, carry = step(carry, ids[:, None], active.astype(jnp.int32))
        logits = choose(active, after, logits)
        active = active & ~jnp.any(ids[:, None] == ends, axis=1)
        active = active if limits is None else active & (n + 1 < limits)
        return Loop(n + 1, active, logits, carry, seen, drawn)

    read = until if read_last else until - 1
    loop = jax.lax.while_loop(lambda loop: (loop.n < read) & jnp.any(loop.active), body, loop)
    return loop if read_last else draw_one(loop)[1]


def stop_ids(stop: Sequence[int]) -> Array:
    """Return the tokens that end a sequence, int32 `[stop]`, or raise TypeError unless they are integers.

    Example:
        >>> stop_ids([9, 3])
        Array([9, 3], dtype=int32)
    """
    ids = jnp.asarray(tuple(stop) if isinstance(stop, Set) else stop)
    if ids.ndim != 1 or (ids.size and not jnp.issubdtype(ids.dtype, jnp.integer)):
        raise TypeError(f"stop must hold the integers that end a sequence, such as [2], got {stop!r}")
    return ids.astype(jnp.int32)


def check_generation(prompt: Array, length: int, sampling: Sampling, key: Key | None) -> None:
    """Raise ValueError or TypeError if `generate` cannot begin with these arguments."""
    check_sampling(sampling)
    check_prompt(prompt)
    if operator.index(length) < 0:
        raise ValueError(f"length must not be negative, got {length}")
    if key is None and not is_greedy(sampling):
        raise ValueError("drawing tokens needs a key: pass key=jax.random.key(seed), or Sampling(temperature=0.0)")


def _occurring(prompt: Array, lengths: Array | None, vocabulary: int) -> Array:
    """Which tokens the prompts hold, bool `[batch, vocabulary]`."""
    batch, time = prompt.shape
    real = (
        jnp.ones(prompt.shape, bool) if lengths is None else jnp.arange(time, dtype=jnp.int32)[None] < lengths[:, None]
    )
    return jnp.zeros((batch, vocabulary), bool).at[jnp.arange(batch, dtype=jnp.int32)[:, None], prompt].max(real)
