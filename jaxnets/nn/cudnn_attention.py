"""cuDNN's flash attention, made to work under `jax.vmap` and under `jax.vmap` of `jax.grad`, whatever is mapped."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.types import Array


def cudnn_attention(
    queries: Array, keys: Array, values: Array, *, mask: Array | None, causal: bool, scale: float
) -> Array:
    """Call `jax.nn.dot_product_attention(implementation="cudnn")` with `[batch, time, heads, head_dim]`.

    Its batching rule wants queries, keys, values and the result's cotangent all mapped, and along their first axis.
    What stays out of reach is a mapped cotangent with nothing else mapped, as `jax.jacrev` makes it: that raises.
    """
    queries, keys, values = mapped_alike((queries, keys, values))
    if mask is not None:  # the kernel reads it as a bias and repeats the batch and the heads only
        mask = jnp.broadcast_to(mask, (*mask.shape[:2], queries.shape[1], keys.shape[1]))
    with jax.numpy_dtype_promotion("standard"):  # it mixes dtypes, also where the caller forbids that
        y = jax.nn.dot_product_attention(
            queries, keys, values, mask=mask, is_causal=causal, scale=scale, implementation="cudnn"
        )
    return with_mapped_cotangent(y, queries)


@jax.custom_vjp
def mapped_alike(arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """Return the same arrays, all mapped along their first axis if `jax.vmap` maps any of them.

    `select(condition, a, a)` is `a`, and the compiler removes it; but it is mapped where its condition is.
    """
    condition = functools.reduce(jnp.logical_or, [jnp.isnan(array[(0,) * array.ndim]) for array in arrays])
    return tuple(_select(condition, array) for array in arrays)


def _select(condition: Array, array: Array) -> Array:
    everywhere = jnp.broadcast_to(condition, array.shape)
    return jax.lax.select(everywhere, array, array)


mapped_alike.defvjp(lambda arrays: (mapped_alike(arrays), None), lambda _, cotangents: (cotangents,))


@jax.custom_vjp
def with_mapped_cotangent(y: Array, like: Array) -> Array:
    """Return `y`; its cotangent will be mapped along its first axis if `jax.vmap` maps `like`."""
    return y


def _forward(y: Array, like: Array) -> tuple[Array, Array]:
    return y, like


def _backward(like: Array, cotangent: Array) -> tuple[Array, Any]:
    return _select(jnp.isnan(like[(0,) * like.ndim]), cotangent), jnp.zeros_like(like)


with_mapped_cotangent.defvjp(_forward, _backward)
