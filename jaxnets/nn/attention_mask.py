"""Boolean masks: True for the tokens of a sequence, and for attention where a query may attend to a key."""

from __future__ import annotations

import jax.numpy as jnp

from jaxnets.layer import names_errors
from jaxnets.types import Array


def causal_mask(queries: int, keys: int, *, offset: int = 0) -> Array:
    """Let query i attend to the keys $j <= i + offset$.

    Self attention needs no such array, `causal=True` says the same. It is for a block of queries that continue a
    longer sequence of keys.

    Args:
        queries: number of queries.
        keys: number of keys.
        offset: the key at which the first query stands, such as `keys - queries` if the last ones stand together.

    Returns:
        A boolean array `[queries, keys]`.

    Example:
        >>> causal_mask(2, 3, offset=1)
        Array([[ True,  True, False],
               [ True,  True,  True]], dtype=bool)
    """
    return jnp.tri(queries, keys, k=offset, dtype=bool)


@names_errors
def padding_mask(lengths: Array, size: int) -> Array:
    """Let every query attend to the first `lengths[b]` keys of its sequence b: the others are padding.

    Args:
        lengths: `[...]`, integers: the length of each sequence.
        size: the number of keys, padding included.

    Returns:
        A boolean array `[..., 1, 1, size]`, which broadcasts over heads and queries.

    Raises:
        TypeError: if `lengths` are not integers.

    Example:
        >>> padding_mask(jnp.array([1, 3]), 3)[:, 0, 0]
        Array([[ True, False, False],
               [ True,  True,  True]], dtype=bool)
    """
    return sequence_mask(lengths, size)[..., None, None, :]


@names_errors
def sequence_mask(lengths: Array, size: int) -> Array:
    """Say which positions are tokens, the first `lengths[b]` of sequence b, and which are padding.

    Args:
        lengths: `[...]`, integers: the length of each sequence.
        size: the number of positions, padding included.

    Returns:
        A boolean array `[..., size]`.

    Raises:
        TypeError: if `lengths` are not integers.

    Example:
        >>> sequence_mask(jnp.array([1, 3]), 3)
        Array([[ True, False, False],
               [ True,  True,  True]], dtype=bool)

    Warning:
        Masks of PyTorch, such as `key_padding_mask`, are True for padding.
    """
    lengths = jnp.asarray(lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"lengths must be integers, got {lengths.dtype}")
    if lengths.dtype.itemsize < 4:  # small types cannot count all positions
        lengths = lengths.astype(jnp.int32)
    positions = jnp.arange(size, dtype=lengths.dtype).reshape((1,) * lengths.ndim + (size,))
    return positions < lengths[..., None]
