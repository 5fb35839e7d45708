"""Shared by the augmentations: checks, one key per image, and random draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import jax
import jax.numpy as jnp

from jaxnets.nn.check import check_floating, compute_dtype, require_key
from jaxnets.random import subkey
from jaxnets.types import Array, ArrayLike, Key

Range: TypeAlias = float | tuple[float, float]
"""A number `a` for draws from -a to a, or a pair (low, high)."""

Fill: TypeAlias = float | Sequence[float] | Array
"""The value outside an image: one number, or one per channel."""
Values: TypeAlias = ArrayLike | Sequence[float]
"""A small array, or a tuple of numbers."""


def check_images(images: Array) -> None:
    """Raise unless `images` are floating point `[batch, height, width, channels]`."""
    check_floating(images)
    if images.ndim != 4:
        raise ValueError(
            f"images must be [batch, height, width, channels], got {list(images.shape)}; "
            "write images[None] for one image, images[..., None] for images without a channel axis"
        )


def check_range(name: str, low_high: tuple[float, float], *, least: float | None = None) -> None:
    """Raise ValueError unless low <= high, and `least` <= low if `least` is given."""
    if not isinstance(low_high, tuple | list) or len(low_high) != 2:
        raise ValueError(f"{name} must be a pair (low, high), got {low_high!r}")
    low, high = low_high
    if low > high or (least is not None and low < least):
        condition = "low <= high" if least is None else f"{least} <= low <= high"
        raise ValueError(f"{name} must be (low, high) with {condition}, got {low_high}")


def symmetric(name: str, value: Range) -> tuple[float, float]:
    """Return a range as a checked pair (low, high)."""
    low_high = value if isinstance(value, tuple | list) else (-value, value)
    check_range(name, low_high)
    return low_high


def image_keys(images: Array, key: Key | None) -> Key:
    """Derive one key per image from its index in the batch, `[batch]`; it does not depend on the batch size."""
    base = require_key(key, "an augmentation")
    return jax.vmap(lambda place: subkey(base, place))(jnp.arange(images.shape[0]))


def uniform(keys: Key, low_high: tuple[float, float], shape: tuple[int, ...] = ()) -> Array:
    """Draw from U(low, high) with each image's key: float32 `[batch, *shape]`."""
    low, high = low_high
    return jax.vmap(lambda key: jax.random.uniform(key, shape, jnp.float32, low, high))(keys)


def log_uniform(keys: Key, low_high: tuple[float, float]) -> Array:
    """Draw factors with uniform logarithm, so 1/f is as likely as f: float32 `[batch]`."""
    low, high = jnp.log(jnp.asarray(low_high, jnp.float32))
    return jnp.exp(low + uniform(keys, (0.0, 1.0)) * (high - low))


def integers(keys: Key, low: int, high: int) -> Array:
    """Draw an integer from low to high, inclusive, with each image's key: int32 `[batch]`."""
    return jax.vmap(lambda key: jax.random.randint(key, (), low, high + 1, jnp.int32))(keys)


def subkeys(keys: Key, name: str) -> Key:
    """Derive a key by name from each image's key: `[batch]`."""
    derived: Key = jax.vmap(lambda key: subkey(key, name))(keys)
    return derived


def per_image(name: str, value: Values, images: Array, trailing: tuple[int, ...] = ()) -> Array:
    """Return a parameter as `[batch, *trailing]`, given for all images or for each."""
    array = jnp.asarray(value)
    shape = (images.shape[0], *trailing)
    if array.shape not in (shape, trailing):
        raise ValueError(
            f"{name} must have shape {list(trailing)}, or {list(shape)} with one for each image, "
            f"got {list(array.shape)}"
        )
    if array.ndim == len(trailing):
        array = array[None]
    return jnp.broadcast_to(array, shape).astype(compute_dtype(images))


def with_margin(images: Array, rows: int, columns: int, fill: Fill) -> Array:
    """Add `rows` rows and `columns` columns of `fill`, one number or one per channel, on every side."""
    batch, height, width, channels = images.shape
    value = jnp.asarray(fill).astype(images.dtype)
    if value.shape not in ((), (channels,)):
        raise ValueError(f"fill must be one number, or one for each of {channels} channels, got {list(value.shape)}")
    value = jnp.broadcast_to(value, (channels,))
    canvas = jnp.broadcast_to(value[None, None, None], (batch, height + 2 * rows, width + 2 * columns, channels))
    return jax.lax.dynamic_update_slice(canvas, images, (0, rows, columns, 0))


def clipped(images: Array, clip: tuple[float, float] | None) -> Array:
    """Clip to (low, high), unless `clip` is None."""
    return images if clip is None else jnp.clip(images, *(jnp.asarray(bound, images.dtype) for bound in clip))
