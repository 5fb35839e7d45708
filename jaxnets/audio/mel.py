"""The mel scale, on which equal steps sound equal, and filters of equal width on it."""

from __future__ import annotations

from typing import Literal, TypeAlias

import jax.numpy as jnp
import numpy as np

from jaxnets.types import Array, DTypeLike

MelScale: TypeAlias = Literal["htk", "slaney"]
"""`"htk"`: m = 2595 log10(1 + f / 700). `"slaney"`: m = 3 f / 200 up to 1,000 Hz, 15 + 27 log(f / 1000) / log(6.4)
above."""
_LINEAR = 200 / 3
_CORNER, _CORNER_MEL = 1000.0, 15.0
_STEP = np.log(6.4) / 27


def hertz_to_mel(frequencies: np.ndarray | float, scale: MelScale = "htk") -> np.ndarray:
    """Convert frequencies to mel; see `MelScale` for the formulas.

    Args:
        frequencies: in hertz, `[...]`, not negative.
        scale: `"htk"` or `"slaney"`.

    Returns:
        Mel, float64 `[...]`, on the host.

    Raises:
        ValueError: if there is no such scale.

    Example:
        >>> hertz_to_mel(np.array([0.0, 1000.0])).round(1), hertz_to_mel(np.array([0.0, 1000.0]), "slaney")
        (array([   0., 1000.]), array([ 0., 15.]))

    Reference:
        HTK: Young et al., The HTK Book. Slaney: Auditory Toolbox, 1998.
    """
    _check_scale(scale)
    hertz = np.asarray(frequencies, np.float64)
    if scale == "htk":
        return np.asarray(2595 * np.log10(1 + hertz / 700))
    above = _CORNER_MEL + np.log(np.maximum(hertz, _CORNER) / _CORNER) / _STEP
    return np.where(hertz < _CORNER, hertz / _LINEAR, above)


def mel_to_hertz(mels: np.ndarray | float, scale: MelScale = "htk") -> np.ndarray:
    """Convert mel to frequencies: the inverse of `hertz_to_mel`.

    Args:
        mels: `[...]`.
        scale: `"htk"` or `"slaney"`.

    Returns:
        Hertz, float64 `[...]`, on the host.

    Raises:
        ValueError: if there is no such scale.

    Example:
        >>> mel_to_hertz(np.array([0.0, 15.0, 42.0]), "slaney")
        array([   0., 1000., 6400.])
    """
    _check_scale(scale)
    mel = np.asarray(mels, np.float64)
    if scale == "htk":
        return np.asarray(700 * (10 ** (mel / 2595) - 1))
    above = _CORNER * np.exp(_STEP * (np.maximum(mel, _CORNER_MEL) - _CORNER_MEL))
    return np.where(mel < _CORNER_MEL, mel * _LINEAR, above)


def mel_filters(
    *,
    sample_rate: float,
    fft_size: int,
    bands: int,
    low: float = 0.0,
    high: float | None = None,
    scale: MelScale = "htk",
    equal_area: bool = False,
    dtype: DTypeLike = jnp.float32,
) -> Array:
    """Make triangular filters whose corners are equally spaced in mel: a spectrum times it has one number a band.

    Band b rises from corner c_b to c_(b+1), where it is 1, and falls to c_(b+2), linearly in hertz.

    Args:
        sample_rate: of the sound, in hertz.
        fft_size: of the spectra, which have `fft_size // 2 + 1` frequencies.
        bands: how many filters.
        low: the lowest corner, in hertz.
        high: the highest corner, in hertz; None for half the sample rate.
        scale: `"htk"` or `"slaney"`.
        equal_area: whether each filter is divided by half its width in hertz, so that white noise has equal power in
            all bands.
        dtype: of the result.

    Returns:
        `[fft_size // 2 + 1, bands]`.

    Raises:
        ValueError: if the corners are not between 0 and half the sample rate, a size is not positive, there is no such
            scale, or a filter lies between two frequencies and would always give 0.

    Example:
        >>> mel_filters(sample_rate=8000, fft_size=64, bands=8).shape
        (33, 8)

    Reference:
        Davis and Mermelstein, Comparison of parametric representations for monosyllabic word recognition in
        continuously spoken sentences, 1980.

    Warning:
        librosa's default is `scale="slaney", equal_area=True`, torchaudio's `scale="htk", equal_area=False`.
    """
    top = sample_rate / 2 if high is None else high
    if not 0 <= low < top <= sample_rate / 2:
        raise ValueError(
            f"mel_filters: corners must be 0 <= low < high <= {sample_rate / 2:g} Hz, got low={low:g}, high={top:g}"
        )
    if bands < 1 or fft_size < 2:
        raise ValueError(f"mel_filters: bands and fft_size must be positive, got {bands} and {fft_size}")
    lowest, highest = (float(hertz_to_mel(corner, scale)) for corner in (low, top))
    corners = mel_to_hertz(np.linspace(lowest, highest, bands + 2), scale)
    frequencies = np.arange(fft_size // 2 + 1)[:, None] * (sample_rate / fft_size)
    rising = (frequencies - corners[None, :-2]) / np.diff(corners)[None, :-1]
    falling = (corners[None, 2:] - frequencies) / np.diff(corners)[None, 1:]
    filters = np.maximum(0, np.minimum(rising, falling))
    if empty := np.flatnonzero(filters.sum(axis=0) == 0).tolist():
        raise ValueError(
            f"mel_filters: no frequency lies in band {empty[0]} ({len(empty)} such); take fewer bands than {bands}, or "
            f"a larger fft_size than {fft_size}"
        )
    if equal_area:
        filters = filters * (2 / (corners[2:] - corners[:-2]))[None]
    return jnp.asarray(filters, dtype)


def _check_scale(scale: str) -> None:
    if scale not in ("htk", "slaney"):
        raise ValueError(f"the mel scale must be 'htk' or 'slaney', got {scale!r}")
