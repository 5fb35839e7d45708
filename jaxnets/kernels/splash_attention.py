"""JAX's flash attention for TPUs, in the shapes of `dot_product_attention`."""

from __future__ import annotations

from collections.abc import Callable

import jax

from jaxnets.backend import platform, types_carry_sharding
from jaxnets.types import Array

CAUSAL = "causal_attention"
"""The name of causal attention in a program, by which `jaxnets.plan` knows that tiles are left out."""
_LANES = 128
_SHORTEST = 1024
"""From here on a head's weights take 4 MiB in float32 and more. Chosen by that size, not measured on a TPU."""


def tiles(queries: int, keys: int) -> bool:
    """Say whether splash attention pays for these numbers of queries and keys, and can be cut into its tiles.

    Example:
        >>> tiles(1024, 1024), tiles(1000, 1000), tiles(128, 128)
        (True, False, False)
    """
    return queries % _LANES == 0 and keys % _LANES == 0 and min(queries, keys) >= _SHORTEST


def one_device(*arrays: Array) -> bool:
    """Say whether a program with these arrays is for one device: the compiler cannot split a kernel over several.

    A mesh that is set (`jax.set_mesh`, and in steps of `data_parallel` and of a placement) says so, else the number of
    devices that JAX knows.

    Example:
        >>> import jax.numpy as jnp
        >>> one_device(jnp.ones(3)) == (jax.device_count() == 1)
        True
        >>> one = jax.make_mesh((1,), ("data",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
        >>> with jax.sharding.use_abstract_mesh(one.abstract_mesh):
        ...     one_device(jnp.ones(3))
        True
    """
    mesh = jax.sharding.get_abstract_mesh()
    count = jax.device_count() if mesh.empty else mesh.size
    return count == 1 and not types_carry_sharding(*arrays)


def splash_attention(
    queries: Array, keys: Array, values: Array, *, mask: Array | None, causal: bool, scale: float
) -> Array:
    """Compute attention `[batch, time, heads, head_dim]` in tiles, without storing its weights.

    On other platforms than TPUs the kernel is interpreted, which is slow.

    Raises:
        ValueError: if there is a mask array, or if lengths are not multiples of 128.
    """
    length, heads, size = queries.shape[1], queries.shape[2], keys.shape[1]
    if mask is not None:
        raise ValueError("implementation 'splash' takes causal=True but no mask; pass implementation='einsum'")
    if length % _LANES or size % _LANES:
        raise ValueError(
            f"implementation 'splash' needs lengths that are multiples of {_LANES}, "
            f"got {length} queries and {size} keys; pass implementation='einsum'"
        )
    with (
        jax.numpy_dtype_promotion("standard"),  # it mixes dtypes, also where the caller forbids that
        jax.named_scope(CAUSAL if causal else "attention"),
    ):
        attend = jax.vmap(_kernel(length, size, heads, causal))
        y: Array = attend((queries * scale).swapaxes(1, 2), keys.swapaxes(1, 2), values.swapaxes(1, 2))
    return y.swapaxes(1, 2).astype(queries.dtype)


def _kernel(length: int, size: int, heads: int, causal: bool) -> Callable[..., Array]:
    """The kernel `[heads, time, head_dim]`, with the largest tiles of up to 512 positions that fit."""
    from jax.experimental.pallas.ops.tpu import splash_attention as splash

    rows, columns = (next(tile for tile in (512, 256, _LANES) if count % tile == 0) for count in (length, size))
    tiles = splash.BlockSizes(
        block_q=rows,
        block_kv=columns,
        block_kv_compute=columns,
        block_q_dkv=rows,
        block_kv_dkv=columns,
        block_kv_dkv_compute=columns,
        block_q_dq=rows,
        block_kv_dq=columns,
    )
    mask = (splash.CausalMask if causal else splash.FullMask)((length, size))
    kernel: Callable[..., Array] = splash.make_splash_mha(
        splash.MultiHeadMask([mask] * heads),
        block_sizes=tiles,
        head_shards=1,
        q_seq_shards=1,
        interpret=platform() != "tpu",
    )
    return kernel
