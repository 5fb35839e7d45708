"""Attention over a growing sequence: keys and values of the past are state."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata

from jaxnets.backend import fast_path
from jaxnets.layer import layer, names_errors
from jaxnets.nn.attention import check_sequence, merge_heads, project
from jaxnets.nn.dot_product_attention import dot_product_attention
from jaxnets.spec import ArraySpec, Spec
from jaxnets.types import Array, DTypeLike, Params, State


@names_errors
def attention_cache_spec(
    attention: Spec | Params, *, batch: int | tuple[int, ...], capacity: int, dtype: DTypeLike | None = None
) -> Spec:
    """Describe the state of `cached_attention`, which is empty at first.

    Args:
        attention: what `attention_spec` returned, or the parameters made of it: they say how large a head is.
        batch: the number of sequences, or all leading axes, `()` for none.
        capacity: how many positions the cache can hold.
        dtype: dtype of the cached keys and values; None for float32 (or float64 with `init`'s dtype).

    Returns:
        A spec of state with `key` and `value` `[*batch, kv_heads, capacity, head_dim]` and `length` `[*batch]`,
        int32, how many positions each sequence holds. Heads come before positions, as products with them need it: each
        token would wait for a transposed copy otherwise.

    Raises:
        ValueError: if the capacity is not positive.

    Example:
        >>> from jaxnets import nn
        >>> cache = attention_cache_spec(nn.attention_spec(32, heads=4), batch=2, capacity=100)
        >>> {name: leaf.shape for name, leaf in cache.items()}
        {'key': (2, 4, 100, 8), 'value': (2, 4, 100, 8), 'length': (2,)}
    """
    if capacity < 1:
        raise ValueError(f"capacity must be at least 1, got {capacity}")
    batch = (operator.index(batch),) if hasattr(batch, "__index__") else tuple(batch)
    zeros, leading = jax.nn.initializers.zeros, ("batch",) * bool(batch) + (None,) * (len(batch) - 1)
    kv_heads, head_dim = attention["key"]["kernel"].shape[-2:]
    entries = ArraySpec(
        (*batch, kv_heads, capacity, head_dim),
        zeros,
        dtype,
        axes=(*leading, "kv_heads", "capacity", "head_dim"),
        is_state=True,
    )
    return {
        "key": entries,
        "value": entries,
        "length": ArraySpec(batch, zeros, jnp.int32, axes=leading, is_state=True),
    }


@layer
def cached_attention(
    params: Params,
    cache: State,
    x: Array,
    *,
    lengths: Array | None = None,
    rotary: Callable[[Array, Array], Array] | None = None,
    scale: float | None = None,
) -> tuple[Array, State]:
    """Append `x` to the sequences in the cache, and let it attend causally to them and to itself.

    Feeding a sequence in any number of pieces, a prompt at once and then one token at a time, gives what
    `attention(params, x, causal=True)` gives for the whole sequence.

    Args:
        params: those of `attention`.
        cache: `key` and `value` `[..., kv_heads, capacity, head_dim]` and `length` `[...]`, as
            `attention_cache_spec` describes them.
        x: `[..., new, features]`, floating point: what follows the sequences in the cache.
        lengths: `[...]`, integers: how many of the `new` positions of each sequence are real, for prompts of different
            lengths. The rest is padding at the end: it is not cached, and its results are of no use. None for all.
        rotary: as in `attention`; positions count from the start of each sequence.
        scale: as in `attention`.

    Returns:
        `(y, cache)`: y `[..., new, features]` in the dtype of `x`, and the cache with the new positions. A sequence
        that outgrows its cache, or whose `lengths` are not in 0 to `new`, is NaN from then on: traced code cannot
        raise.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `x` is not floating point, or `lengths` are not integers.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets import init, nn
        >>> spec = nn.attention_spec(8, heads=2)
        >>> params, _ = init(spec, jax.random.key(0))
        >>> _, cache = init(nn.attention_cache_spec(spec, batch=4, capacity=10), jax.random.key(0))
        >>> x = jax.random.normal(jax.random.key(1), (4, 3, 8))
        >>> _, cache = nn.cached_attention(params, cache, x[:, :2])
        >>> y, cache = nn.cached_attention(params, cache, x[:, 2:])
        >>> bool(jnp.allclose(y, nn.attention(params, x, causal=True)[:, 2:], atol=1e-6)), cache["length"]
        (True, Array([3, 3, 3, 3], dtype=int32))
    """
    check_sequence(x, params["query"]["kernel"])
    _check_cache(cache, x, params["key"]["kernel"])
    *leading, new, _ = x.shape
    capacity = cache["key"].shape[-2]
    if lengths is None:
        lengths = jnp.full(leading, new, jnp.int32)
    elif not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"lengths must be integers, got {lengths.dtype}")
    elif lengths.shape != tuple(leading):
        raise ValueError(f"lengths must be {leading} for x {list(x.shape)}, got {list(lengths.shape)}")
    lengths = lengths.astype(jnp.int32)
    steps = jnp.arange(new, dtype=jnp.int32).reshape((*(1,) * len(leading), new))
    positions = cache["length"][..., None] + steps
    queries, keys, values = (project(params[name], x) for name in ("query", "key", "value"))
    if rotary is not None:
        queries, keys = rotary(queries, positions), rotary(keys, positions)

    places = jnp.where(steps < lengths[..., None], positions, capacity)
    past_keys, past_values = (_write(cache["key"], places, keys), _write(cache["value"], places, values))
    slots = jnp.arange(capacity, dtype=jnp.int32).reshape((*(1,) * (len(leading) + 2), capacity))
    y = dot_product_attention(
        queries,
        past_keys.swapaxes(-3, -2).astype(x.dtype),
        past_values.swapaxes(-3, -2).astype(x.dtype),
        mask=slots <= positions[..., None, :, None],
        scale=scale,
    )
    length = cache["length"] + lengths
    wrong = (length > capacity) | (lengths > new) | (lengths < 0)
    y = jnp.where(wrong[..., None, None], jnp.asarray(jnp.nan, x.dtype), merge_heads(params["out"], y))
    return y, {"key": past_keys, "value": past_values, "length": jnp.where(wrong, capacity + 1, length)}


def _check_cache(cache: State, x: Array, kernel: Array) -> None:
    if set(cache) != {"key", "value", "length"}:
        raise ValueError(
            f"the cache must hold key, value and length, got {sorted(cache)}; "
            f"pass the state of init(attention_cache_spec(...), key)"
        )
    leading, entry = tuple(x.shape[:-2]), cache["key"].shape
    kv_heads, head_dim = kernel.shape[1:]
    if entry != (*leading, kv_heads, *entry[-2:-1], head_dim) or cache["length"].shape != leading:
        raise ValueError(
            f"the cache must be {[*leading, kv_heads, 'capacity', head_dim]} for x {list(x.shape)}, "
            f"got {list(entry)} and length {list(cache['length'].shape)}"
        )


def _write(past: Array, places: Array, entries: Array) -> Array:
    """Write entries `[..., new, heads, features]` at `places` `[..., new]`; a place past the end drops its entry."""
    # were this inlined, XLA would fuse it with what reads the cache, which then is written twice and copied before
    apart = set_xla_metadata(inlineable="false") if fast_path("attention", "cpu") else contextlib.nullcontext()
    with apart:
        written: Array = _write_in_place(past, places, entries)
    return written


@jax.jit
def _write_in_place(past: Array, places: Array, entries: Array) -> Array:
    rows = past.reshape((math.prod(past.shape[:-3]), *past.shape[-3:]))
    entries = entries.swapaxes(-3, -2).astype(past.dtype)
    written: Array = jax.vmap(lambda row, place, entry: row.at[:, place].set(entry, mode="drop"))(
        rows,
        places.reshape((rows.shape[0], places.shape[-1])),
        entries.reshape((rows.shape[0], *entries.shape[-3:])),
    )
    return written.reshape(past.shape)
