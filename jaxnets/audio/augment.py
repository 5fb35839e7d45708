"""Augmentation of sound: shifts and noise of waveforms, masks of spectrograms."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from jaxnets.data.augment.images import check_range, image_keys, integers, subkeys, uniform
from jaxnets.integers import as_integer
from jaxnets.label_check import check_integers
from jaxnets.labels import as_int32
from jaxnets.layer import names_errors
from jaxnets.nn.check import check_floating, compute_dtype
from jaxnets.types import Array, ArrayLike, Key


@names_errors
def shift(x: Array, steps: ArrayLike, *, fill: float = 0.0) -> Array:
    """Move each example along time: $y[t] = x[t - steps]$, and `fill` where there is no such time.

    Args:
        x: `[batch, time, ...]`, waveforms or spectrograms.
        steps: integers `[batch]`, later if positive; or one for all.
        fill: what comes in at the end that is left.

    Returns:
        The shape and dtype of `x`.

    Raises:
        ValueError: if `x` has no time axis, or `steps` do not fit.
        TypeError: if `x` is not floating point, or `steps` are not integers.

    Example:
        >>> shift(jnp.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]]), jnp.array([1, -1]))
        Array([[0., 1., 2.],
               [2., 3., 0.]], dtype=float32)
    """
    _check_batch(x)
    check_integers("steps", steps, advice="clip them to the number of samples")
    by = jnp.asarray(steps)
    if not jnp.issubdtype(by.dtype, jnp.integer):
        raise TypeError(f"steps must be integers, got {by.dtype}")
    by = as_int32(by)  # times do not fit small integers
    if by.shape not in ((), x.shape[:1]):
        raise ValueError(f"steps must be one number or {list(x.shape[:1])}, got {list(by.shape)}")

    def one(example: Array, by: Array) -> Array:
        times = jnp.arange(len(example), dtype=jnp.int32) - by
        return example.at[jnp.where(times < 0, len(example), times)].get(mode="fill", fill_value=fill)

    moved: Array = jax.vmap(one)(x, jnp.broadcast_to(by, x.shape[:1]))
    return moved


@names_errors
def time_shift(x: Array, *, steps: int, fill: float = 0.0, key: Key | None) -> Array:
    """Move each example along time at random, by a whole number of steps from -steps to steps, all equally likely.

    Args:
        x: `[batch, time, ...]`, waveforms or spectrograms.
        steps: by how many at most.
        fill: what comes in at the end that is left.
        key: random key.

    Returns:
        The shape and dtype of `x`.

    Raises:
        ValueError: if `x` has no time axis, `steps` is negative, or there is no key.
        TypeError: if `x` is not floating point.

    Example:
        >>> sounds = jnp.ones((2, 100))
        >>> time_shift(sounds, steps=10, key=jax.random.key(0)).shape
        (2, 100)
    """
    _check_batch(x)
    steps = as_integer("time_shift", "steps", steps, at_least=0)
    return shift(x, integers(image_keys(x, key), -steps, steps), fill=fill)


@names_errors
def mix_at(signals: Array, noise: Array, decibels: ArrayLike) -> Array:
    """Add noise at a signal-to-noise ratio: $y = s + a n$ with $10 log10(power(s) / power(a n)) = decibels$.

    The power is the mean square. A silent signal stays silent, and silent noise adds nothing.

    Args:
        signals: waveforms `[batch, samples]`, floating point.
        noise: `[batch, samples]`.
        decibels: the ratio, `[batch]`, or one for all: 0 is as loud as the signal, 20 a hundredth of its power.

    Returns:
        `[batch, samples]`, in the dtype of `signals`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if the signals are not floating point.

    Example:
        >>> mix_at(jnp.array([[2.0, -2.0]]), jnp.array([[1.0, 1.0]]), 0.0)
        Array([[4., 0.]], dtype=float32)
    """
    _check_batch(signals)
    if signals.ndim != 2 or noise.shape != signals.shape:
        raise ValueError(
            f"signals and noise must be [batch, samples] of one shape, got {list(signals.shape)} and "
            f"{list(noise.shape)}"
        )
    dtype = compute_dtype(signals)
    ratio = jnp.asarray(decibels).astype(dtype)
    if ratio.shape not in ((), signals.shape[:1]):
        raise ValueError(f"decibels must be one number or {list(signals.shape[:1])}, got {list(ratio.shape)}")
    wide, added = signals.astype(dtype), noise.astype(dtype)
    power, of_noise = (jnp.mean(jnp.square(part), axis=1) for part in (wide, added))
    wanted = power * 10 ** (-jnp.broadcast_to(ratio, power.shape) / 10)
    is_silent = (of_noise == 0) | (wanted == 0)  # where the root has no derivative
    factor = jnp.where(is_silent, 0, jnp.sqrt(jnp.where(is_silent, 1, wanted) / jnp.where(is_silent, 1, of_noise)))
    return (wide + factor[:, None] * added).astype(signals.dtype)


@names_errors
def add_noise(x: Array, *, decibels: tuple[float, float] = (10.0, 40.0), key: Key | None) -> Array:
    """Add white noise to each waveform, at a signal-to-noise ratio drawn evenly in decibels.

    Args:
        x: waveforms `[batch, samples]`, floating point.
        decibels: the smallest and the largest ratio; see `mix_at`.
        key: random key.

    Returns:
        `[batch, samples]`, in the dtype of `x`.

    Raises:
        ValueError: if `x` is not `[batch, samples]`, the range is none, or there is no key.
        TypeError: if `x` is not floating point.

    Example:
        >>> add_noise(jnp.ones((2, 100)), decibels=(20.0, 20.0), key=jax.random.key(0)).shape
        (2, 100)
    """
    _check_batch(x)
    check_range("decibels", decibels)
    keys = image_keys(x, key)
    dtype = compute_dtype(x)
    noise = jax.vmap(lambda key: jax.random.normal(key, x.shape[1:], dtype))(subkeys(keys, "noise"))
    return mix_at(x, noise, uniform(subkeys(keys, "decibels"), decibels))


@names_errors
def mask_times(x: Array, *, width: int, count: int = 1, fill: float = 0.0, key: Key | None) -> Array:
    """Replace spans of frames of each spectrogram, as SpecAugment does.

    A span is w frames wide, w from 0 to `width`, and begins anywhere from 0 to frames - w, all equally likely. Spans
    may overlap.

    Args:
        x: spectrograms `[batch, frames, bands, ...]`, floating point.
        width: frames that a span has at most, less than all.
        count: spans of each spectrogram.
        fill: what stands there instead: 0 for the mean, if spectrograms are standardized.
        key: random key.

    Returns:
        The shape and dtype of `x`.

    Raises:
        ValueError: if `x` has no such axes, a size does not fit, or there is no key.
        TypeError: if `x` is not floating point.

    Example:
        >>> masked = mask_times(jnp.ones((3, 50, 20)), width=10, count=2, key=jax.random.key(0))
        >>> bool(jnp.all(jnp.sum(masked[:, :, 0], axis=1) >= 30))
        True

    Reference:
        Park et al., SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition, 2019.
    """
    return _mask(x, axis=1, width=width, count=count, fill=fill, key=key)


@names_errors
def mask_frequencies(x: Array, *, width: int, count: int = 1, fill: float = 0.0, key: Key | None) -> Array:
    """Replace spans of bands of each spectrogram, as `mask_times` does with frames.

    Args:
        x: spectrograms `[batch, frames, bands, ...]`, floating point.
        width: bands that a span has at most, less than all.
        count: spans of each spectrogram.
        fill: what stands there instead.
        key: random key.

    Returns:
        The shape and dtype of `x`.

    Raises:
        ValueError: if `x` has no such axes, a size does not fit, or there is no key.
        TypeError: if `x` is not floating point.

    Example:
        >>> masked = mask_frequencies(jnp.ones((3, 50, 20)), width=4, key=jax.random.key(0))
        >>> bool(jnp.all(jnp.sum(masked[:, 0], axis=1) >= 16))
        True

    Reference:
        Park et al., SpecAugment: A Simple Data Augmentation Method for Automatic Speech Recognition, 2019.
    """
    return _mask(x, axis=2, width=width, count=count, fill=fill, key=key)


def _mask(x: Array, *, axis: int, width: int, count: int, fill: float, key: Key | None) -> Array:
    _check_batch(x)
    if x.ndim < 3:
        raise ValueError(f"spectrograms must be [batch, frames, bands, ...], got {list(x.shape)}")
    size = x.shape[axis]
    if any(not hasattr(value, "__index__") for value in (width, count)) or not 0 <= width < size or count < 0:
        raise ValueError(
            f"width must be an integer from 0 to {size - 1} and count one of at least 0, got {width} and {count}"
        )
    hidden = jnp.zeros((len(x), size), bool)
    keys = image_keys(x, key)
    for number in range(count):
        own = subkeys(keys, f"span{number}")
        wide = integers(subkeys(own, "width"), 0, width)
        hidden |= jax.vmap(functools.partial(_span, size))(subkeys(own, "first"), wide)
    shape = [len(x)] + [size if i == axis else 1 for i in range(1, x.ndim)]
    return jnp.where(jnp.broadcast_to(hidden.reshape(shape), x.shape), jnp.asarray(fill, x.dtype), x)


def _span(size: int, key: Key, width: Array) -> Array:
    """A span of the given width at a place where it has room, as booleans `[size]`."""
    first = jax.random.randint(key, (), 0, size - width + 1, jnp.int32)
    places = jnp.arange(size, dtype=jnp.int32)
    return (places >= first) & (places < first + width)


def _check_batch(x: Array) -> None:
    check_floating(x)
    if x.ndim < 2:
        raise ValueError(f"x must be [batch, time, ...], got {list(x.shape)}; write x[None] for one example")
