"""Prompts of different lengths as one array."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.data.buckets import pad_sequences
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
        ValueError: if there is no prompt, or one is empty.

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
    longest = max(len(row) for row in rows)
    return pad_sequences(rows, -(-longest // multiple) * multiple, pad)


def check_prompt(prompt: Array) -> None:
    """Raise ValueError or TypeError unless a prompt is integers `[batch, time]`, at least one for each sequence.

    Example:
        >>> check_prompt(jnp.array([[1, 2]]))
    """
    if jnp.ndim(prompt) != 2 or prompt.shape[1] < 1:
        raise ValueError(f"prompt must be [batch, time] with time >= 1, got {list(jnp.shape(prompt))}")
    if not jnp.issubdtype(prompt.dtype, jnp.integer):
        raise TypeError(f"prompt must hold integers, got {prompt.dtype}")


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
    prompt: ArrayLike | Sequence[Sequence[int]], lengths: ArrayLike | None, *, largest: int | None = None
) -> tuple[Array, Array]:
    """Make ids `[batch, time]` and lengths `[batch]` of a prompt, of few sizes, so that few programs are compiled.

    Arrays of JAX stay as they are. Others are padded at the end to a power of two, from 16, but to `largest` at most.

    Raises:
        TypeError: if the prompt does not hold integers.
        ValueError: if there is no prompt, or one is empty.

    Example:
        >>> ids, lengths = prepare_prompts([[5, 6, 7], [8]], None)
        >>> ids.shape, lengths
        ((2, 16), Array([3, 1], dtype=int32))
    """
    if isinstance(prompt, jax.Array):
        check_prompt(prompt)
        full = jnp.full(prompt.shape[0], prompt.shape[1], jnp.int32)
        return prompt.astype(jnp.int32), full if lengths is None else jnp.asarray(lengths, jnp.int32)
    rows, counts = pad_prompts(prompt)
    width = rows.shape[1]
    padded = round_up(width, largest)
    ids = np.pad(rows, ((0, 0), (0, padded - width)))
    return jnp.asarray(ids), jnp.asarray(counts if lengths is None else np.asarray(lengths, np.int32))


def round_up(size: int, largest: int | None = None) -> int:
    """The next power of two, from 16, or `largest` if that is between.

    Example:
        >>> round_up(3), round_up(70), round_up(70, 100), round_up(170, 100)
        (16, 128, 100, 170)
    """
    rounded = max(16, 1 << (size - 1).bit_length())
    return rounded if largest is None else max(size, min(rounded, largest))
