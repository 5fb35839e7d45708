"""Beam search: the likeliest sequences that are found by keeping the best beginnings."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.decode.loop import stop_ids
from jaxnets.decode.prompts import check_prompt, one_each
from jaxnets.decode.step import Step, read_prompt
from jaxnets.devices import vary_together
from jaxnets.layer import names_errors
from jaxnets.nn.check import compute_dtype
from jaxnets.types import Array


class Beams(NamedTuple):
    """What `beam_search` found, the best first.

    Attributes:
        ids: int32 `[batch, beams, length]`; behind the end of a sequence the padding.
        log_probs: `[batch, beams, length]`, of each token; 0 behind the end.
        real: bool `[batch, beams, length]`: which tokens belong to the sequence, with the one that ends it.
        scores: `[batch, beams]`: the sum of the log-probabilities divided by length**length_penalty; -inf where fewer
            sequences than beams exist.
    """

    ids: Array
    log_probs: Array
    real: Array
    scores: Array


@names_errors
def beam_search(
    step: Step,
    carry: Any,
    prompt: Array,
    length: int,
    *,
    beams: int,
    lengths: Array | None = None,
    stop: Sequence[int] = (),
    length_penalty: float | Array = 1.0,
    pad: int = 0,
    chunk: int | None = None,
) -> Beams:
    """Search the sequences y of the highest score: $(sum_t log p(y_t | prompt, y_<t)) / length(y)^length_penalty$.

    Each round extends the `beams` best beginnings by every token. Extensions that end go to the `beams` best sequences
    found, the best others are the beginnings of the next round. The search is over when no beginning, at its present
    length, has a better score than the worst sequence found, or after `length` tokens, when beginnings count as ended.
    A pure function, for use inside `jax.jit` and `jax.vmap`.

    Args:
        step: the step of a decoder. Every array of its carry is `[batch, ...]`, and here `[batch * beams, ...]`. What
            it returns as it is, such as the memory of an encoder, is the same for all beams and costs no copies.
        carry: of the step, for `batch` sequences; what the prompt follows.
        prompt: int32 `[batch, time]`, at least one token for each sequence.
        length: how many tokens a sequence has at most.
        beams: how many beginnings to keep.
        lengths: int32 `[batch]`, how many tokens of each prompt are real, the others being at its end; None for all.
        stop: tokens that end a sequence.
        length_penalty: 0 compares sums, which favors short sequences; 1 compares means.
        pad: the token behind the end of a sequence.
        chunk: as in `read_prompt`.

    Returns:
        The sequences, their tokens' log-probabilities, which tokens are real, and the scores.

    Raises:
        TypeError: if the prompt, lengths or `stop` do not hold integers.
        ValueError: if the prompt is not `[batch, time]`, lengths do not fit it, or there are no beams.

    Example:
        >>> from jaxnets import decode
        >>> table = jnp.log(jnp.array([[0.0, 0.6, 0.4], [0.0, 0.5, 0.5], [0.0, 0.1, 0.9]]))  # after 0, after 1, after 2
        >>> step = decode.one_by_one(lambda carry, ids: (table[ids], carry))
        >>> found = decode.beam_search(step, (), jnp.array([[0]]), 2, beams=2)
        >>> found.ids[0, 0], f"{jnp.exp(found.log_probs[0, 0].sum()):.2f}"  # the greedy choice, 1, leads to 0.3
        (Array([2, 2], dtype=int32), '0.36')

    Reference:
        Graves, Sequence transduction with recurrent neural networks, 2012; Sutskever et al., Sequence to sequence
        learning with neural networks, 2014.

    Warning:
        As Hugging Face's `generate(early_stopping=False)`. Wu et al., 2016, divide by $((5 + length) / 6)^penalty$
        instead.
    """
    beams, length = _check(prompt, beams, length)
    if lengths is not None:
        lengths = one_each("lengths", lengths, prompt, range=(1, prompt.shape[1]))
    logits, carry = read_prompt(step, carry, prompt, lengths, chunk=chunk)
    batch, vocabulary = logits.shape
    search = _Search(beams, length, vocabulary, stop_ids(stop), length_penalty, pad)
    carry = jax.tree.map(lambda leaf: jnp.repeat(leaf, beams, axis=0), carry)
    state = search.begin(jnp.repeat(logits, beams, axis=0), carry)
    fixed = _returned_as_it_is(step, carry, batch * beams)

    def goes_on(state: _State) -> Array:
        return (state.n < length) & jnp.any(state.open)

    def body(state: _State) -> _State:
        state, parents, tokens = search.extend(state)
        rows = (jnp.arange(batch, dtype=jnp.int32)[:, None] * beams + parents).reshape(-1)
        carry = jax.tree.map(lambda leaf, same: leaf if same else leaf[rows], state.carry, fixed)
        logits, carry = step(carry, tokens.reshape(-1, 1))
        return state._replace(logits=logits, carry=carry)

    state = jax.lax.while_loop(goes_on, body, vary_together(state))
    return _result(state.found)


class _Sequences(NamedTuple):
    """Sequences: tokens, log-probabilities and lengths, and what they are ranked by, all `[batch, beams, ...]`."""

    ids: Array
    log_probs: Array
    lengths: Array
    scores: Array

    def best(self, count: int) -> _Sequences:
        """The best ones, in falling order."""
        _, places = jax.lax.top_k(self.scores, count)
        return self.take(places)

    def take(self, places: Array) -> _Sequences:
        """Those at places `[batch, count]`."""
        return _Sequences(*(jax.vmap(lambda row, at: row[at])(leaf, places) for leaf in self))


class _State(NamedTuple):
    """Of the search: `open` `[batch]` says which prompts it goes on for, so that none depends on the others."""

    n: Array
    open: Array
    logits: Array
    carry: Any
    running: _Sequences
    found: _Sequences


class _Search(NamedTuple):
    """The settings of a search."""

    beams: int
    length: int
    vocabulary: int
    stop: Array
    length_penalty: float | Array
    pad: int

    def begin(self, logits: Array, carry: Any) -> _State:
        """One empty beginning for each prompt, and nothing found."""
        batch, dtype = logits.shape[0] // self.beams, compute_dtype(logits)
        none = _Sequences(
            jnp.full((batch, self.beams, self.length), self.pad, jnp.int32),
            jnp.zeros((batch, self.beams, self.length), dtype),
            jnp.zeros((batch, self.beams), jnp.int32),
            jnp.full((batch, self.beams), -jnp.inf, dtype),
        )
        running = none._replace(scores=none.scores.at[:, 0].set(0))  # all beams begin alike, so only one counts
        return _State(jnp.int32(0), jnp.ones(batch, bool), logits, carry, running, none)

    def extend(self, state: _State) -> tuple[_State, Array, Array]:
        """Extend the beginnings by a token; return their parents and last tokens too, `[batch, beams]`."""
        n, running = state.n, state.running
        batch = running.scores.shape[0]
        log_probs = jax.nn.log_softmax(state.logits.astype(running.scores.dtype)).reshape(
            (batch, self.beams, self.vocabulary)
        )
        sums = (running.scores[:, :, None] + log_probs).reshape((batch, self.beams * self.vocabulary))
        # Of beams * (1 + stop) candidates, at least `beams` go on.
        candidates = min(self.beams * (1 + self.stop.shape[0]), sums.shape[1])
        scores, places = jax.lax.top_k(sums, candidates)
        parents, tokens = places // self.vocabulary, (places % self.vocabulary).astype(jnp.int32)
        longer = running.take(parents)
        longer = _Sequences(
            longer.ids.at[:, :, n].set(tokens),
            longer.log_probs.at[:, :, n].set(jnp.take_along_axis(log_probs.reshape(sums.shape), places, axis=1)),
            longer.lengths + 1,
            scores,
        )
        ends = jnp.any(tokens[..., None] == self.stop.reshape((1, 1, -1)), axis=-1)
        among_best = jnp.arange(candidates, dtype=jnp.int32)[None] < self.beams
        ended = (ends | (n + 1 == self.length)) & among_best & state.open[:, None]
        by_length = scores / (n + 1).astype(scores.dtype) ** self.length_penalty
        found = jax.tree.map(
            lambda a, b: jnp.concatenate([a, b], axis=1),
            state.found,
            longer._replace(scores=jnp.where(ended, by_length, -jnp.inf)),
        ).best(self.beams)
        going_on, places = jax.lax.top_k(jnp.where(ends, -jnp.inf, scores), self.beams)
        running = longer.take(places)._replace(scores=going_on)
        parents, tokens = (jnp.take_along_axis(a, places, axis=1) for a in (parents, tokens))
        extended = _State(n + 1, state.open, state.logits, state.carry, running, found)
        return extended._replace(open=state.open & self.may_improve(extended)), parents, tokens

    def may_improve(self, state: _State) -> Array:
        """Whether the best beginning of each prompt has a better score than the worst sequence found."""
        length = jnp.maximum(state.n, 1).astype(state.running.scores.dtype)
        possible = jnp.max(state.running.scores, axis=1) / length**self.length_penalty
        return possible > jnp.min(state.found.scores, axis=1)


def _returned_as_it_is(step: Step, carry: Any, sequences: int) -> Any:
    """For each array of the carry, whether the step returns that very array: a tree of bool."""
    found: list[Any] = []

    def run(carry: Any, ids: Array) -> None:
        found.append(jax.tree.map(lambda before, after: before is after, carry, step(carry, ids)[1]))

    jax.eval_shape(run, carry, jnp.zeros((sequences, 1), jnp.int32))
    return found[0]


def _result(found: _Sequences) -> Beams:
    real = jnp.arange(found.ids.shape[-1], dtype=jnp.int32)[None, None] < found.lengths[..., None]
    real = real & jnp.isfinite(found.scores)[..., None]
    return Beams(found.ids, jnp.where(real, found.log_probs, 0), real, found.scores)


def _check(prompt: Array, beams: int, length: int) -> tuple[int, int]:
    check_prompt(prompt)
    if operator.index(beams) < 1:
        raise ValueError(f"beams must be at least 1, got {beams}")
    if operator.index(length) < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    return operator.index(beams), operator.index(length)
