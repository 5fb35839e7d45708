"""Prompts of different lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.data.buckets import pad_sequences
from jaxnets.integers import as_integer
from jaxnets.label_check import is_here
from jaxnets.types import Array, ArrayLike


def pad_prompts(
    prompts: ArrayLike | Sequence[Sequence[int]], *, multiple: int = 1, pad: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Put prompts of different lengths into one array, padded at their ends.

    Args:
        prompts: lists of ids, or ids `[batch, time]`; at least one id each.
        multiple: the width is rounded up to a multiple of it, so that fewer programs are compiled.
        pad: what to pad with.

    Returns:
        ids int32 `[batch, time]` and lengths int32 `[batch]`.

    Raises:
        TypeError: if a prompt does not hold integers.
        ValueError: if there is no prompt, one is empty, an id does not fit 32 bits, or `multiple` is not positive.

    Example:
        >>> pad_prompts([[5, 6, 7], [8]])
        (array([[5, 6, 7],
               [8, 0, 0]], dtype=int32), array([3, 1], dtype=int32))
    """
    rows = [np.asarray(prompt) for prompt in prompts]  # type: ignore[union-attr]
    for number, row in enumerate(rows):
        if row.ndim != 1 or not row.size:
            raise ValueError(f"prompt {number} must be a list of at least one id, got an array {list(row.shape)}")
        if not np.issubdtype(row.dtype, np.integer):
            raise TypeError(f"prompt must hold integers, got {row.dtype} in prompt {number}")
    if not rows:
        raise ValueError("there must be at least one prompt, got none")
    longest, multiple = max(len(row) for row in rows), as_integer("pad_prompts", "multiple", multiple, at_least=1)
    return pad_sequences(rows, -(-longest // multiple) * multiple, pad)


def check_prompt(prompt: Array) -> None:
    """Raise ValueError or TypeError unless a prompt is integers `[batch, time]`, at least one for each sequence.

    Example:
        >>> check_prompt(jnp.array([[1, 2]]))
    """
    if not hasattr(prompt, "dtype"):
        raise TypeError(
            f"prompt must be an array [batch, time], got {type(prompt).__name__}; write "
            "ids, lengths = decode.pad_prompts(prompt) and pass both"
        )
    if jnp.ndim(prompt) != 2 or prompt.shape[1] < 1:
        raise ValueError(f"prompt must be [batch, time] with time >= 1, got {list(jnp.shape(prompt))}")
    if not jnp.issubdtype(prompt.dtype, jnp.integer):
        raise TypeError(f"prompt must hold integers, got {prompt.dtype}")


def one_each(name: str, values: ArrayLike, prompt: Array, *, range: tuple[int, int] | None = None) -> Array:
    """Return a number for each prompt as int32 `[batch]`.

    Raises:
        TypeError: if they are no integers.
        ValueError: if they are not `[batch]`, or, where they are not traced, beyond the range.

    Example:
        >>> one_each("lengths", [1, 2], jnp.array([[5, 0], [6, 7]]), range=(1, 2))
        Array([1, 2], dtype=int32)
    """
    here: Any = values if hasattr(values, "dtype") else np.asarray(values)
    if not jnp.issubdtype(here.dtype, jnp.integer):
        raise TypeError(f"{name} must be integers [batch], got {here.dtype}")
    if here.shape != prompt.shape[:1]:
        raise ValueError(f"{name} must be [{prompt.shape[0]}], one for each prompt, got {list(here.shape)}")
    if range is not None and here.size and is_here(here):
        least, largest = int(np.min(here)), int(np.max(here))
        if not range[0] <= least <= largest <= range[1]:
            raise ValueError(f"{name} must be from {range[0]} to {range[1]}, got {least} to {largest}")
    return jnp.asarray(here).astype(jnp.int32)


def align_prompts(ids: Array, mask: Array) -> tuple[Array, Array]:
    """Move prompts that are padded in front, or on both sides, to the beginning of their rows.

    Args:
        ids: `[batch, time]`.
        mask: bool `[batch, time]`, True at the real tokens, which are next to each other (an `attention_mask` of
            Hugging Face's tokenizers, as bool).

    Returns:
        ids `[batch, time]` with the padding behind, and lengths int32 `[batch]`.

    Raises:
        TypeError: if the mask is not boolean.
        ValueError: if shapes differ.

    Example:
        >>> align_prompts(jnp.array([[0, 0, 5, 6], [7, 8, 9, 0]]), jnp.array([[0, 0, 1, 1], [1, 1, 1, 0]], bool))
        (Array([[5, 6, 0, 0],
               [7, 8, 9, 0]], dtype=int32), Array([2, 3], dtype=int32))
    """
    if mask.dtype != jnp.bool_:
        raise TypeError(f"align_prompts: the mask must be boolean, got {mask.dtype}; write mask.astype(bool)")
    if ids.ndim != 2 or ids.shape != mask.shape:
        raise ValueError(f"align_prompts: ids and mask must both be [batch, time], got {ids.shape} and {mask.shape}")
    return jax.vmap(jnp.roll)(ids, -jnp.argmax(mask, axis=1)), jnp.sum(mask, axis=1, dtype=jnp.int32)


def prepare_prompts(
    prompt: ArrayLike | Sequence[Sequence[int]],
    lengths: ArrayLike | None,
    *,
    vocabulary: int,
    largest: int | None = None,
) -> tuple[Array, Array]:
    """Make ids `[batch, time]` and lengths `[batch]` of a prompt, of few sizes, so that few programs are compiled.

    Arrays of JAX stay as they are. Others are padded at the end to a power of two, from 16, but to `largest` at most,
    and checked to hold tokens only.

    Raises:
        TypeError: if the prompt or the lengths do not hold integers.
        ValueError: if there is no prompt, one is empty or holds what is no token, or lengths do not fit.

    Example:
        >>> ids, lengths = prepare_prompts([[5, 6, 7], [8]], None, vocabulary=10)
        >>> ids.shape, lengths
        ((2, 16), Array([3, 1], dtype=int32))
    """
    if isinstance(prompt, jax.Array):
        check_prompt(prompt)
        ids, counts = prompt.astype(jnp.int32), np.full(prompt.shape[0], prompt.shape[1], np.int32)
    else:
        rows, counts = pad_prompts(prompt)
        _check_tokens(rows, counts if lengths is None else lengths, vocabulary)
        width = rows.shape[1]
        ids = jnp.asarray(np.pad(rows, ((0, 0), (0, round_up(width, largest) - width))))
    if lengths is None:
        return ids, jnp.asarray(counts)
    return ids, one_each("lengths", lengths, ids, range=(1, int(np.max(counts, initial=1))))


def _check_tokens(rows: np.ndarray, lengths: ArrayLike, vocabulary: int) -> None:
    """Raise ValueError if what is real of ids `[batch, time]` is no token: the network would return NaN."""
    wrong = (rows < 0) | (rows >= vocabulary)
    if wrong.any() and is_here(lengths) and np.size(lengths) == len(rows):
        real = np.arange(rows.shape[1])[None] < np.reshape(np.asarray(lengths), (-1, 1))
        for row, place in np.argwhere(wrong & real):
            raise ValueError(
                f"prompt {row} holds {rows[row, place]} at position {place}, and tokens are from 0 to {vocabulary - 1}"
            )


def round_up(size: int, largest: int | None = None) -> int:
    """The next power of two, from 16, or `largest` if that is between.

    Example:
        >>> round_up(3), round_up(70), round_up(70, 100), round_up(170, 100)
        (16, 128, 100, 170)
    """
    rounded = max(16, 1 << (size - 1).bit_length())
    return rounded if largest is None else max(size, min(rounded, largest))
