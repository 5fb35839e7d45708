"""The step of a decoder: which functions are one, and how it reads a prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from jaxnets.devices import vary_together
from jaxnets.types import Array


class Step(Protocol):
    """A function that reads tokens: `step(carry, ids, lengths=None) -> (logits, carry)`; see `jaxnets.decode`."""

    def __call__(self, carry: Any, ids: Array, lengths: Array | None = None, /) -> tuple[Array, Any]:
        """Read ids int32 `[batch, new]`; return logits `[batch, vocabulary]` and the carry after the real tokens."""
        ...


def one_by_one(step: Callable[[Any, Array], tuple[Array, Any]]) -> Step:
    """Make a step of a function that reads one token of each sequence.

    Args:
        step: `step(carry, ids) -> (logits, carry)` with ids int32 `[batch]`, logits `[batch, vocabulary]` and a carry
            of arrays `[batch, ...]`.

    Returns:
        A `Step`, which reads the tokens one after the other.

    Raises:
        ValueError: by the step, if an array of the carry has no axis for the sequences.

    Example:
        >>> def count_up(carry, ids):  # the next token is the last one plus one
        ...     return jax.nn.one_hot(ids + 1, 10), carry + 1
        >>> step = one_by_one(count_up)
        >>> logits, carry = step(jnp.zeros(2, jnp.int32), jnp.array([[3, 4], [7, 0]]), jnp.array([2, 1]))
        >>> jnp.argmax(logits, -1), carry
        (Array([5, 8], dtype=int32), Array([2, 1], dtype=int32))
    """

    def read(carry: Any, ids: Array, lengths: Array | None = None, /) -> tuple[Array, Any]:
        for path, leaf in jax.tree_util.tree_leaves_with_path(carry):
            if jnp.shape(leaf)[:1] != ids.shape[:1]:
                raise ValueError(
                    f"one_by_one: arrays of the carry must be [batch, ...] with {ids.shape[0]} sequences, got "
                    f"{list(jnp.shape(leaf))} at carry{jax.tree_util.keystr(path)}"
                )
        if ids.shape[1] == 1 and lengths is None:
            return step(carry, ids[:, 0])
        lengths = jnp.full(ids.shape[0], ids.shape[1], jnp.int32) if lengths is None else lengths
        before = jax.eval_shape(step, carry, ids[:, 0])[0]

        def body(before: tuple[Array, Any], column: tuple[Array, Array]) -> tuple[tuple[Array, Any], None]:
            ids, real = column
            return choose(real, step(before[1], ids), before), None

        real = jnp.arange(ids.shape[1], dtype=jnp.int32)[:, None] < lengths[None]
        start = vary_together((jnp.zeros(before.shape, before.dtype), carry), ids, lengths)
        after: tuple[Array, Any] = jax.lax.scan(body, start, (ids.T, real))[0]
        return after

    return read


def read_prompt(
    step: Step, carry: Any, ids: Array, lengths: Array | None = None, *, chunk: int | None = None
) -> tuple[Array, Any]:
    """Read a prompt, at once or in chunks, as many as the longest one needs.

    In chunks, the memory for one chunk is enough, and one program serves short and long prompts of a padded size.

    Args:
        step: the step of a decoder.
        carry: of the step.
        ids: int32 `[batch, time]`.
        lengths: int32 `[batch]`, how many tokens of each prompt are real, the others being at its end; None for all.
        chunk: how many tokens to read at once; None for all.

    Returns:
        Logits `[batch, vocabulary]` of the token after each prompt, and the carry.

    Raises:
        ValueError: if `chunk` is not positive.

    Example:
        >>> step = one_by_one(lambda carry, ids: (jax.nn.one_hot(ids, 10), carry + ids))
        >>> logits, carry = read_prompt(step, jnp.zeros(1, jnp.int32), jnp.array([[1, 2, 3, 4, 5]]), chunk=2)
        >>> jnp.argmax(logits, -1), carry
        (Array([5], dtype=int32), Array([15], dtype=int32))
    """
    batch, time = ids.shape
    if chunk is None or chunk >= time:
        return step(carry, ids, lengths) if lengths is not None else step(carry, ids)
    if chunk < 1:
        raise ValueError(f"chunk must be at least 1, got {chunk}")
    lengths = jnp.full(batch, time, jnp.int32) if lengths is None else lengths.astype(jnp.int32)
    ids = jnp.pad(ids, ((0, 0), (0, -time % chunk)))
    before = jax.eval_shape(step, carry, ids[:, :chunk], lengths)[0]

    def body(loop: tuple[Array, Array, Any]) -> tuple[Array, Array, Any]:
        start, logits, carry = loop
        real = jnp.clip(lengths - start, 0, chunk)
        new, carry = step(carry, jax.lax.dynamic_slice_in_dim(ids, start, chunk, axis=1), real)
        return start + chunk, choose(real > 0, new, logits), carry

    start = vary_together((jnp.int32(0), jnp.zeros(before.shape, before.dtype), carry), ids, lengths)
    _, logits, carry = jax.lax.while_loop(lambda loop: loop[0] < jnp.max(lengths), body, start)
    return logits, carry


def choose(these: Array, new: Any, old: Any) -> Any:
    """Take the new arrays `[batch, ...]` for some sequences and the old ones for the others."""
    return jax.tree.map(
        lambda n, o: jnp.where(these.reshape((-1,) + (1,) * (jnp.ndim(n) - 1)), n, o),
        new,
        old,
    )


def last_real(x: Array, lengths: Array | None) -> Array:
    """Take what belongs to the last real token of each sequence: `[batch, ...]` of `[batch, time, ...]`.

    Example:
        >>> last_real(jnp.array([[[1], [2], [3]]]), jnp.array([2]))
        Array([[2]], dtype=int32)
    """
    if lengths is None or x.shape[1] == 1:
        return x[:, -1]
    return x[jnp.arange(x.shape[0], dtype=jnp.int32), jnp.maximum(lengths, 1) - 1]
