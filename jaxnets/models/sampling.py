"""What the generation of tokens and of characters share: drawing from logits, and the check of a prompt."""

from __future__ import annotations

import operator

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.types import Array, ArrayLike, Key


def draw(logits: Array, temperature: float | Array, key: Key) -> Array:
    """Draw from softmax(logits / temperature) over the last axis, or take the likeliest if the temperature is 0.

    Both are in one program, so that it is compiled once for all temperatures.

    Args:
        logits: `[..., classes]`.
        temperature: a number, which may be traced.
        key: random key.

    Returns:
        ids int32 `[...]`.

    Example:
        >>> draw(jnp.array([[1.0, 3.0, 2.0]]), jnp.float32(0), jax.random.key(0))
        Array([1], dtype=int32)
    """
    drawn = jax.random.categorical(key, logits / jnp.where(temperature > 0, temperature, 1))
    return jnp.where(temperature > 0, drawn, jnp.argmax(logits, axis=-1)).astype(jnp.int32)


def check_generation(prompt: ArrayLike, length: int, temperature: float | Array) -> tuple[Array, int, float | Array]:
    """Check the arguments of a generating function, and give them the types for which its program is compiled once.

    Raises:
        TypeError: if the prompt does not hold integers.
        ValueError: if the prompt is empty, or the temperature or the length negative.

    Example:
        >>> check_generation([[1, 2]], 5, 1)
        (Array([[1, 2]], dtype=int32), 5, 1.0)
    """
    ids = jnp.asarray(prompt if isinstance(prompt, jax.Array) else np.asarray(prompt))  # lists would be compiled
    if ids.ndim != 2 or ids.shape[1] < 1:
        raise ValueError(f"prompt must be [batch, time] with time >= 1, got {list(ids.shape)}")
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise TypeError(f"prompt must hold integers, got {ids.dtype}")
    if not isinstance(temperature, jax.Array):
        temperature = float(temperature)
    if not isinstance(temperature, jax.core.Tracer) and temperature < 0:
        raise ValueError(f"temperature must not be negative, got {temperature}")
    if length < 0:
        raise ValueError(f"length must not be negative, got {length}")
    return ids.astype(jnp.int32), operator.index(length), temperature
