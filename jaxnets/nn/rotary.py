"""Rotary position embedding."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxnets.layer import layer
from jaxnets.nn.check import check_floating, compute_dtype
from jaxnets.types import Array


@layer
def rotary(
    x: Array, positions: Array, *, base: float = 10000.0, features: int | None = None, interleaved: bool = False
) -> Array:
    """Rotate pairs of features by angles that grow with the position: z_i <- z_i e^(i p base^(-2i/features)).

    Pair i of a head, as the complex number z_i, is rotated by an angle proportional to the position p, so the product
    of a query at p and a key at q depends only on p - q. Apply it to queries and keys, not to values.

    Args:
        x: `[..., time, heads, head_dim]`, queries or keys.
        positions: `[time]`, or `[..., time]` with the leading axes of `x`; integers or floating point.
        base: the longest wavelength is nearly 2 pi times this; 10,000 in the paper.
        features: the number of features at the start of each head that are rotated, even; None for all.
        interleaved: which features form pair i: False takes i and i + features/2 (Llama as in Hugging Face, GPT-NeoX),
            True takes 2i and 2i + 1 (the paper, GPT-J, Llama's own weights).

    Returns:
        The shape and dtype of `x`. Angles are computed in float32, or in float64 if `x` is.

    Raises:
        ValueError: if `features` is odd or larger than a head, or if the shapes do not fit.
        TypeError: if `x` is not floating point.

    Example:
        >>> x = jnp.array([[[1.0, 0.0]], [[1.0, 0.0]]])
        >>> rotary(x, jnp.array([0.0, jnp.pi / 2])).round(3)[:, 0]
        Array([[ 1.,  0.],
               [-0.,  1.]], dtype=float32)

    Reference:
        Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding, 2021.

    Warning:
        Weights trained with one pairing of features give wrong results with the other, without an error.
    """
    check_floating(x)
    positions = jnp.asarray(positions)
    if x.ndim < 3:
        raise ValueError(f"x must be [..., time, heads, head_dim], got {list(x.shape)}")
    if positions.shape not in ((x.shape[-3],), x.shape[:-2]):
        raise ValueError(
            f"positions must be {[x.shape[-3]]} or {list(x.shape[:-2])} for x {list(x.shape)}, "
            f"got {list(positions.shape)}"
        )
    size = x.shape[-1] if features is None else features
    if size % 2 or not 0 < size <= x.shape[-1]:
        raise ValueError(
            f"features must be even, positive and at most {x.shape[-1]} (head_dim of x {list(x.shape)}), got {size}"
        )
    wide = compute_dtype(x)
    frequencies = jnp.asarray(base ** (-np.arange(0, size, 2) / size), wide)
    angles = positions.reshape(-1, 1).astype(wide) * frequencies[None]
    angles = angles.reshape((*(1,) * (x.ndim - 2 - positions.ndim), *positions.shape, 1, size // 2))
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    rotated = x[..., :size].astype(wide)
    if interleaved:
        real, imaginary = rotated[..., ::2], rotated[..., 1::2]
    else:
        real, imaginary = jnp.split(rotated, 2, axis=-1)
    parts = real * cos - imaginary * sin, imaginary * cos + real * sin
    y = jnp.stack(parts, axis=-1).reshape(rotated.shape) if interleaved else jnp.concatenate(parts, axis=-1)
    return jnp.concatenate([y.astype(x.dtype), x[..., size:]], axis=-1)
