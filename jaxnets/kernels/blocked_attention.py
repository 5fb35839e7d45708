"""Causal attention on CPU by blocks of queries.

Half of the weights that a causal mask leaves are zeros. Block by block, each with the keys up to its last query, most
of the zeros are not computed; and the weights of a block are computed a second time for the gradient, while they are in
the processor's cache, instead of those of the whole sequence being written to memory and read.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxnets.types import Array

_FASTER_FROM = 256
"""From this many queries on, blocks were faster in measurements (docs/LOG.md)."""
_BLOCKS = 4
"""So many blocks, which leave out 6 of 16 parts of the weights; eight took as long or longer."""


def faster_in_blocks(queries: int) -> bool:
    """Say whether causal attention of so many queries is faster in blocks.

    It is False where an exported function leaves their number open.

    Example:
        >>> faster_in_blocks(64), faster_in_blocks(1024)
        (False, True)
    """
    return isinstance(queries, int) and queries >= _FASTER_FROM


def attend_by_blocks(
    attend: Callable[[Array, Array, Array, Array | None], Array],
    queries: Array,
    keys: Array,
    values: Array,
    mask: Array | None,
    *,
    causal: bool,
) -> Array:
    """Compute attention block by block.

    Args:
        attend: `attend(queries, keys, values, mask)` computes attention.
        queries: `[batch, queries, heads, head_dim]`.
        keys: `[batch, keys, kv_heads, head_dim]`.
        values: `[batch, keys, kv_heads, head_dim]`.
        mask: boolean `[batch, heads, queries, keys]`, each axis of that size or of size 1; None to allow everything.
        causal: whether query i may attend to the keys j <= i only, which the mask, if there is one, says too. Without
            it nothing is left out.

    Returns:
        `[batch, queries, heads, head_dim]`.

    Example:
        >>> x = jax.random.normal(jax.random.key(0), (1, 100, 2, 4))
        >>> attend = lambda q, k, v, mask: jax.nn.dot_product_attention(q, k, v, mask=mask)
        >>> y = attend_by_blocks(attend, x, x, x, None, causal=True)
        >>> bool(jnp.allclose(y, jax.nn.dot_product_attention(x, x, x, is_causal=True), atol=1e-5))
        True
    """
    length = queries.shape[1]
    size = -(-length // _BLOCKS)

    def block(start: int) -> Array:
        stop = min(start + size, length)
        seen = stop if causal else keys.shape[1]

        @jax.checkpoint
        def compute(queries: Array, keys: Array, values: Array, mask: Array | None) -> Array:
            earlier = jnp.tri(stop - start, seen, start, dtype=bool)[None, None] if causal else None
            allowed = earlier if mask is None else _part_of_mask(mask, slice(start, stop), slice(seen))
            return attend(queries[:, start:stop], keys[:, :seen], values[:, :seen], allowed)

        y: Array = compute(queries, keys, values, mask)
        return y

    return jnp.concatenate([block(start) for start in range(0, length, size)], axis=1)


def _part_of_mask(mask: Array, queries: slice, keys: slice) -> Array:
    """Cut `[batch, heads, queries, keys]`, whose axes may have size 1."""
    every = slice(None)
    return mask[:, :, queries if mask.shape[2] > 1 else every, keys if mask.shape[3] > 1 else every]
