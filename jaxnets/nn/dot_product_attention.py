"""Scaled dot-product attention."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp

from jaxnets.kernels.attention import Implementation, Split, attend, heads_first, implementation_here
from jaxnets.kernels.blocked_attention import attend_by_blocks
from jaxnets.kernels.rows import largest
from jaxnets.layer import layer
from jaxnets.nn.check import check_floating, check_rate, compute_dtype, require_key
from jaxnets.nn.dropout import dropout
from jaxnets.types import Array, DTypeLike, Key

_MASKED = -1e30  # added to a logit: its weight is exactly 0, and no dtype of at least 32 bits overflows


@layer
def dot_product_attention(
    queries: Array,
    keys: Array,
    values: Array,
    *,
    mask: Array | None = None,
    causal: bool = False,
    scale: float | None = None,
    rate: float | Array = 0.0,
    key: Key | None = None,
    train: bool | None = None,
    implementation: Implementation | None = None,
    split: Split | None = None,
) -> Array:
    """Average the values, weighted by how well each query fits each key: $y = softmax(scale Q K^T) V$ for every head.

    With fewer heads of keys and values than of queries, `heads / kv_heads` consecutive query heads share one
    (grouped-query attention; multi-query attention with one).

    Args:
        queries: `[..., queries, heads, head_dim]`, floating point.
        keys: `[..., keys, kv_heads, head_dim]`, of the same dtype and leading axes.
        values: `[..., keys, kv_heads, head_dim]`, likewise.
        mask: boolean, True where a query may attend to a key: `[queries, keys]`, or `[..., heads, queries, keys]` with
            all leading axes; any of its axes may have size 1. A query that may attend to nothing gets zeros.
        causal: whether query i may attend to the keys j <= i only; needs as many keys as queries. Together with
            `mask`, both must allow it.
        scale: what the products of queries and keys are multiplied by; None for $1/sqrt(head_dim)$.
        rate: the probability to drop a weight in training.
        key: random key, needed if weights are dropped.
        train: whether to drop; required if `rate` is not 0.
        implementation: `"einsum"`, `"blocks"`, `"xla"`, `"cudnn"` or `"splash"`; None for the fastest one
            (see `jaxnets.kernels.attention.choose_implementation`).
        split: how batch and heads are divided over a mesh of devices, for `"cudnn"` and `"splash"`, which the compiler
            cannot divide; `attention` passes that of its parameters.

    Returns:
        `[..., queries, heads, head_dim]`, in the dtype of the queries. Softmax is computed in float32, or in
        float64 if the queries are (but not by `"xla"`, which rounds it to float32).

    Raises:
        ValueError: if shapes do not fit together, if `rate` comes without `train`, or if `key` is missing.
        TypeError: if the dtypes differ or are not floating point, or if the mask is not boolean.

    Example:
        >>> import jax.numpy as jnp
        >>> queries = keys = jnp.zeros((1, 3, 2, 4))  # every key fits every query alike
        >>> values = jnp.arange(3.0).reshape(1, 3, 1, 1) * jnp.ones((1, 3, 2, 4))
        >>> dot_product_attention(queries, keys, values, causal=True)[0, :, 0, 0]
        Array([0. , 0.5, 1. ], dtype=float32)

    Reference:
        Vaswani et al., Attention Is All You Need, 2017; Ainslie et al., GQA, 2023; Dao, FlashAttention-2, 2023.

    Warning:
        PyTorch's `scaled_dot_product_attention` wants heads before time. Its `MultiheadAttention` says True in a mask
        where attention is forbidden, and by default gives NaN for a query that may attend to nothing; `jax.nn` gives
        it the mean of all values.

        The kernels for half precision on NVIDIA GPUs (cuDNN) and on TPUs (splash) have no forward mode and no second
        derivatives, cuDNN's no `jacrev`: they raise; pass `implementation="xla"` to
        have them.
    """
    _check_arrays(queries, keys, values)
    *leading, length, heads, head_dim = queries.shape
    if causal and length != keys.shape[-3]:
        raise ValueError(
            f"causal=True needs as many keys as queries, got {length} queries and "
            f"{keys.shape[-3]} keys; pass mask=causal_mask(queries, keys, offset=...) instead"
        )
    dropout_key = _dropout_key(rate, key, train)
    q, k, v = (a.reshape((math.prod(leading), *a.shape[-3:])) for a in (queries, keys, values))
    split = split if split is not None and split.divides(q, k) else None
    if implementation is None:
        implementation = implementation_here(
            *(queries, keys, values),
            masked=mask is not None,
            dropping=dropout_key is not None,
            causal=causal,
            split=split is not None,
        )
    scale = 1 / math.sqrt(head_dim) if scale is None else scale
    if mask is not None:
        mask = _batched_mask(mask, (*leading, heads, length, keys.shape[-3]))
        mask = mask & jnp.tri(length, dtype=bool)[None, None] if causal else mask
    if implementation == "einsum":
        allowed = jnp.tri(length, dtype=bool)[None, None] if causal and mask is None else mask
        y = _einsum_attention(q, k, v, allowed, scale=scale, rate=rate, key=dropout_key)
    elif dropout_key is not None:
        raise ValueError(f"implementation {implementation!r} cannot drop weights, 'einsum' can")
    elif implementation == "blocks":
        y = attend_by_blocks(functools.partial(_einsum_attention, scale=scale), q, k, v, mask, causal=causal)
    else:
        y = attend(implementation, q, k, v, mask=mask, causal=causal and mask is None, scale=scale, split=split)
    if mask is not None:
        y = jnp.where(jnp.any(mask, axis=-1).swapaxes(1, 2)[..., None], y, jnp.zeros((), y.dtype))
    return y.reshape(queries.shape)


def _einsum_attention(
    queries: Array,
    keys: Array,
    values: Array,
    mask: Array | None,
    *,
    scale: float,
    rate: float | Array = 0.0,
    key: Key | None = None,
) -> Array:
    """Attention `[batch, time, heads, features]` as two batched products with heads before time.

    The query heads that share keys become further rows of one product. Sums of exponentials divide the result instead
    of the weights, and masks are added, which leaves nothing of the size of the weights to store or to divide.
    """
    batch, length, heads, features = queries.shape
    size, kv_heads = keys.shape[1:3]
    groups = heads // kv_heads
    wide = compute_dtype(queries)
    rows = queries.swapaxes(1, 2).reshape((batch, kv_heads, groups * length, features))
    axes, (keys, values) = heads_first(keys, values)
    logits = jnp.einsum(f"bkqf,bk{axes}->bkqs", rows, keys, preferred_element_type=wide)
    logits = _rounded_gradient(logits, queries.dtype) * scale
    if mask is not None:
        grouped = (kv_heads, groups) if mask.shape[1] == heads else (1, 1)
        penalty = jnp.where(mask, 0.0, _MASKED).astype(wide).reshape((mask.shape[0], *grouped, *mask.shape[2:]))
        logits = (logits.reshape((batch, kv_heads, groups, length, size)) + penalty).reshape(logits.shape)
    weights = jnp.exp(logits - largest(logits))
    total = jnp.sum(weights, axis=-1, keepdims=True)
    if key is not None:
        weights = dropout(weights, rate, key=key, train=True)
    y = jnp.einsum(f"bkqs,bk{axes}->bkqf", weights.astype(values.dtype), values, preferred_element_type=wide)
    y = (_rounded_gradient(y, queries.dtype) / total).astype(queries.dtype)
    return y.reshape((batch, heads, length, features)).swapaxes(1, 2)


def _rounded_gradient(x: Array, dtype: DTypeLike) -> Array:
    """Return `x`; its gradient is rounded to `dtype`, so that backward products have no float32 factor.

    Not in float16, whose range sums of products leave.
    """
    if x.dtype == dtype or dtype == jnp.float16:
        return x
    rounded = x.astype(dtype).astype(x.dtype)
    return rounded + jax.lax.stop_gradient(x - rounded)


def _check_arrays(queries: Array, keys: Array, values: Array) -> None:
    check_floating(queries)
    shapes = f"got queries {list(queries.shape)}, keys {list(keys.shape)}, values {list(values.shape)}"
    if not queries.dtype == keys.dtype == values.dtype:
        raise TypeError(
            f"queries, keys and values must have one dtype, got {queries.dtype}, {keys.dtype}, {values.dtype}"
        )
    if queries.ndim < 3:
        raise ValueError(f"queries must be [..., queries, heads, head_dim], {shapes}")
    expected = (*queries.shape[:-3], *keys.shape[-3:-1], queries.shape[-1])
    if keys.shape != expected or values.shape != expected:
        raise ValueError(
            f"keys and values must both be [..., keys, kv_heads, head_dim] with the "
            f"leading axes and head_dim of the queries, {shapes}"
        )
    if keys.shape[-3] == 0:
        raise ValueError(f"there must be at least one key, {shapes}")
    if keys.shape[-2] == 0 or queries.shape[-2] % keys.shape[-2]:
        raise ValueError(
            f"the number of query heads must be a multiple of kv_heads, got {queries.shape[-2]} and {keys.shape[-2]}"
        )


def _dropout_key(rate: float | Array, key: Key | None, train: bool | None) -> Key | None:
    """The key to drop weights with, or None if none are dropped."""
    check_rate(rate)
    if not isinstance(rate, jax.core.Tracer) and rate == 0:
        return None
    if train is None:
        raise ValueError(f"with rate {rate}, pass train=True or train=False")
    return require_key(key, "dropping weights") if train else None


def _batched_mask(mask: Array, full: tuple[int, ...]) -> Array:
    """Check the mask against `full` = `[..., heads, queries, keys]`; return it with exactly one leading axis."""
    mask = jnp.asarray(mask)
    if mask.dtype != jnp.bool_:
        raise TypeError(f"mask must be boolean, True to attend, got {mask.dtype}")
    fits = mask.ndim in (2, len(full)) and all(
        size in (1, expected) for size, expected in zip(mask.shape[::-1], full[::-1], strict=False)
    )
    if not fits:
        raise ValueError(
            f"mask must be [queries, keys] = {list(full[-2:])} or "
            f"[..., heads, queries, keys] = {list(full)}, each axis of that size or of size 1, got {list(mask.shape)}; "
            f"for a padding mask [batch, keys] write mask[:, None, None, :]"
        )
    if mask.ndim == 2:
        return mask[None, None]
    leading = full[:-3]
    if math.prod(mask.shape[:-3]) not in (1, math.prod(leading)):
        mask = jnp.broadcast_to(mask, (*leading, *mask.shape[-3:]))
    return mask.reshape((math.prod(mask.shape[:-3]), *mask.shape[-3:]))
