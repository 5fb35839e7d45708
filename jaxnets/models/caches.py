"""What the decoders of Transformers share: an empty cache for each block."""

from __future__ import annotations

from typing import Any

import jax

from jaxnets import nn
from jaxnets.repeat import unstack
from jaxnets.spec import init
from jaxnets.types import DTypeLike, Params


def empty_caches(blocks: Params, *, batch: int, capacity: int, dtype: DTypeLike) -> list[Any]:
    """Make an empty cache for each of the repeated blocks, as `nn.cached_attention` takes it.

    Args:
        blocks: parameters of the blocks, which have an `attention`, stacked or one after the other.
        batch: the number of sequences.
        capacity: how many tokens the cache can hold for each sequence.
        dtype: of the cached keys and values.

    Raises:
        ValueError: if the capacity is not positive.

    Example:
        >>> from jaxnets import repeat_spec
        >>> blocks, _ = init(repeat_spec(nn.transformer_block_spec(8, heads=2), 3), jax.random.key(0))
        >>> [cache["key"].shape for cache in empty_caches(blocks, batch=2, capacity=5, dtype="float32")]
        [(2, 2, 5, 4), (2, 2, 5, 4), (2, 2, 5, 4)]
    """
    each = unstack(blocks)
    spec = nn.attention_cache_spec(each[0]["attention"], batch=batch, capacity=capacity, dtype=dtype)
    return [init(spec, jax.random.key(0))[1] for _ in each]
