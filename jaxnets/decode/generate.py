"""Drawing one token after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxnets.decode.loop import begin, check_generation, run
from jaxnets.decode.prompts import one_each
from jaxnets.decode.sampling import Sampling
from jaxnets.decode.step import Step, read_prompt
from jaxnets.layer import names_errors
from jaxnets.types import Array, Key


class Generated(NamedTuple):
    """What `generate` drew.

    Attributes:
        ids: int32 `[batch, length]`; behind the end of a sequence the padding.
        log_probs: `[batch, length]`, of each token by log_softmax(logits), before any rule of sampling; 0 behind the
            end.
        real: bool `[batch, length]`: which tokens were drawn. A token that ends a sequence is one of them.
        carry: of the step, which has read all real tokens.
        logits: `[batch, vocabulary]` of the token after them.
    """

    ids: Array
    log_probs: Array
    real: Array
    carry: Any
    logits: Array


@names_errors
def generate(
    step: Step,
    carry: Any,
    prompt: Array,
    length: int,
    *,
    lengths: Array | None = None,
    sampling: Sampling = Sampling(),
    stop: Sequence[int] = (),
    limits: Array | None = None,
    pad: int = 0,
    chunk: int | None = None,
    key: Key | None = None,
) -> Generated:
    """Read a prompt, then draw tokens one after the other until every sequence has ended.

    A pure function, for use inside `jax.jit` and `jax.vmap`. To go on, with tokens from outside if there are any, call
    it again with the carry of its result and those tokens as the prompt.

    Args:
        step: the step of a decoder.
        carry: of the step; what the prompt follows.
        prompt: int32 `[batch, time]`, at least one token for each sequence.
        length: how many tokens to draw at most.
        lengths: int32 `[batch]`, how many tokens of each prompt are real, the others being at its end; None for all.
        sampling: how tokens are drawn; `Sampling(temperature=0.0)` takes the likeliest.
        stop: tokens that end a sequence.
        limits: int32 `[batch]`, how many tokens to draw for each sequence at most; None for `length`.
        pad: the token behind the end of a sequence.
        chunk: as in `read_prompt`.
        key: random key; token n is drawn with `subkey(key, n)`.

    Returns:
        The tokens, their log-probabilities, which are real, the carry and the next logits.

    Raises:
        TypeError: if the prompt, lengths, limits or `stop` do not hold integers.
        ValueError: if the prompt is not `[batch, time]`, lengths or limits do not fit it, a rule is out of range, or
            the key is missing.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets import decode
        >>> step = decode.one_by_one(lambda carry, ids: (jax.nn.one_hot(ids + 1, 10), carry))
        >>> greedy = decode.Sampling(temperature=0.0)
        >>> decode.generate(step, (), jnp.array([[3], [7]]), 4, sampling=greedy, stop=[9]).ids
        Array([[4, 5, 6, 7],
               [8, 9, 0, 0]], dtype=int32)

    Warning:
        The loop cannot be differentiated in reverse mode. For policy gradients compute the log-probabilities of the
        drawn tokens again with the network's `apply`.
    """
    check_generation(prompt, length, sampling, key)
    if lengths is not None:  # 0 for a sequence that has ended, which goes without anything new
        lengths = one_each("lengths", lengths, prompt, range=(0, prompt.shape[1]))
    limits = None if limits is None else one_each("limits", limits, prompt)
    logits, carry = read_prompt(step, carry, prompt, lengths, chunk=chunk)
    loop = begin(logits, carry, prompt, length, lengths=lengths, sampling=sampling, pad=pad)
    loop = run(step, loop, length, sampling=sampling, stop=stop, limits=limits, pad=pad, key=key)
    return Generated(*loop.drawn, loop.carry, loop.logits)
