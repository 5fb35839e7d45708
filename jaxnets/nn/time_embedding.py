"""Numbers, such as the steps of a diffusion, as waves of many lengths."""

from __future__ import annotations

import math

import jax.numpy as jnp

from jaxnets.layer import layer
from jaxnets.types import Array, DTypeLike


@layer
def time_embedding(t: Array, features: int, *, max_period: float = 10_000.0, dtype: DTypeLike = jnp.float32) -> Array:
    """Embed numbers: $[sin(t w_0), ..., sin(t w_(n-1)), cos(t w_0), ..., cos(t w_(n-1))]$, $w_i = max_period^(-i/n)$.

    Args:
        t: `[...]`, integers or floating point.
        features: 2 n, even.
        max_period: the wavelength, divided by 2 pi, that the slowest wave nearly has.
        dtype: of the result; waves are computed in at least float32.

    Returns:
        `[..., features]`.

    Raises:
        ValueError: if `features` is not even and positive.

    Example:
        >>> time_embedding(jnp.array([0, 250]), 4)[0]
        Array([0., 0., 1., 1.], dtype=float32)

    Reference:
        Vaswani et al., Attention is all you need, 2017; for the steps of a diffusion: Ho, Jain, Abbeel, Denoising
        diffusion probabilistic models, 2020.

    Warning:
        The program of Ho et al. divides by n - 1 instead of n; OpenAI's guided diffusion has the cosines first. A
        network with pretrained weights needs the form that it was trained with.
    """
    if features < 2 or features % 2:
        raise ValueError(f"features must be even and at least 2, got {features}")
    wide = jnp.float32 if jnp.dtype(dtype).itemsize < 4 else dtype
    frequencies = jnp.exp(jnp.arange(features // 2, dtype=wide) * (-2 * math.log(max_period) / features))
    t = jnp.asarray(t, wide)
    angles = t[..., None] * frequencies.reshape((1,) * t.ndim + (-1,))
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1).astype(dtype)
