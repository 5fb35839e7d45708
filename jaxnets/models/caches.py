"""What the decoders of Transformers share: their blocks one after the other, and an empty cache for each."""

from __future__ import annotations

from typing import Any

import jax

from jaxnets import nn
from jaxnets.spec import init
from jaxnets.types import DTypeLike, Params


def block_list(stacked: Params) -> list[Params]:
    """Return the parameters of repeated blocks, one after the other, of arrays `[blocks, ...]`.

    A loop over tokens reads them once for each token; slices of a stacked array would be copied each time.

    Example:
        >>> block_list({"scale": jax.numpy.array([[1.0], [2.0]])})
        [{'scale': Array([1.], dtype=float32)}, {'scale': Array([2.], dtype=float32)}]
    """
    count = jax.tree.leaves(stacked)[0].shape[0]
    return [jax.tree.map(lambda leaf, at=i: leaf[at], stacked) for i in range(count)]


def empty_caches(stacked: Params, *, batch: int, capacity: int, dtype: DTypeLike) -> list[Any]:
    """Make an empty cache for each of the repeated blocks, as `nn.cached_attention` takes it.

    Args:
        stacked: parameters of the blocks, which have an `attention`.
        batch: the number of sequences.
        capacity: how many tokens the cache can hold for each sequence.
        dtype: of the cached keys and values.

    Raises:
        ValueError: if the capacity is not positive.

    Example:
        >>> from jaxnets import repeat_spec
        >>> blocks, _ = init(repeat_spec(nn.transformer_block_spec(8, heads=2), 3), jax.random.key(0))
        >>> [cache["key"].shape for cache in empty_caches(blocks, batch=2, capacity=5, dtype="float32")]
        [(2, 5, 2, 4), (2, 5, 2, 4), (2, 5, 2, 4)]
    """
    attentions = block_list(stacked["attention"])
    spec = nn.attention_cache_spec(attentions[0], batch=batch, capacity=capacity, dtype=dtype)
    return [init(spec, jax.random.key(0))[1] for _ in attentions]
