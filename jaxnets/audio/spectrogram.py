"""Spectrograms: how much power a sound has, by time and frequency."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import jax.numpy as jnp
import numpy as np

from jaxnets.audio.mel import MelScale, mel_filters
from jaxnets.layer import names_errors
from jaxnets.nn.check import check_floating, compute_dtype
from jaxnets.types import Array

Window: TypeAlias = Literal["hann", "hamming", "rectangular"]
"""By what the samples of a frame are multiplied."""


def window(name: Window, length: int) -> np.ndarray:
    """Make a window, periodic: Hann $0.5 - 0.5 cos(2 pi n / N)$, Hamming $0.54 - 0.46 cos(2 pi n / N)$, or ones.

    Args:
        name: `"hann"`, `"hamming"` or `"rectangular"`.
        length: N.

    Returns:
        float64 `[length]`, on the host.

    Raises:
        ValueError: if there is no such window, or the length is not positive.

    Example:
        >>> window("hann", 4)
        array([0. , 0.5, 1. , 0.5])

    Warning:
        `numpy.hanning` and SciPy's `sym=True` are symmetric, with N - 1 in the place of N.
    """
    if name not in get_args(Window):
        raise ValueError(f"window must be one of {', '.join(get_args(Window))}, got {name!r}")
    if length < 1:
        raise ValueError(f"a window must have a positive length, got {length}")
    if length == 1:
        return np.ones(1)
    cosine = np.cos(2 * np.pi * np.arange(length) / length)
    return {"hann": 0.5 - 0.5 * cosine, "hamming": 0.54 - 0.46 * cosine, "rectangular": np.ones(length)}[name]


@names_errors
def spectrogram(
    x: Array,
    *,
    frame_length: int,
    hop: int,
    fft_size: int | None = None,
    window_name: Window = "hann",
    center: bool = True,
) -> Array:
    """Power of each frequency in each frame: $S[t, k] = |sum_n w[n] x[t hop + n] exp(-2 pi i k n / fft_size)|^2$.

    Args:
        x: waveforms `[..., samples]`, floating point.
        frame_length: samples in a frame.
        hop: samples from one frame to the next.
        fft_size: of the Fourier transform, at least `frame_length`, around which zeros are put; None for the same.
        window_name: what a frame is multiplied by; see `window`.
        center: whether frame t is centered at sample t hop, where the sound is mirrored at both ends. Without it frame
            t begins there, and only full frames count.

    Returns:
        `[..., frames, fft_size // 2 + 1]` in the dtype of `x`, with `1 + samples // hop` frames if centered, or
        `1 + (samples - 1) // hop` for an odd `fft_size`.

    Raises:
        ValueError: if the sound is too short for a frame, or a size does not fit.
        TypeError: if `x` is not floating point.

    Example:
        >>> tone = jnp.cos(2 * jnp.pi * 1000 * jnp.arange(800.0) / 8000)
        >>> power = spectrogram(tone, frame_length=80, hop=40)
        >>> power.shape, int(jnp.argmax(power[10]))  # 1,000 Hz are 10 of 100 Hz
        ((21, 41), 10)

    Warning:
        The frame lies in the middle of the Fourier transform, as in librosa and PyTorch, not at its beginning, as in
        SciPy and Kaldi; the power is the same, and frames are counted from the Fourier transform's first sample.
    """
    check_floating(x)
    size = frame_length if fft_size is None else fft_size
    if not 1 <= frame_length <= size or hop < 1:
        raise ValueError(f"sizes must be 1 <= frame_length <= fft_size and hop >= 1, got {frame_length}, {size}, {hop}")
    if x.ndim == 0 or x.shape[-1] < (size // 2 + 1 if center else size):
        least = size // 2 + 1 if center else size
        raise ValueError(f"x must be [..., samples] with at least {least} samples, got {list(x.shape)}")
    wide = x.astype(compute_dtype(x))
    if center:
        sides = [(0, 0)] * (x.ndim - 1) + [(size // 2, size // 2)]
        wide = jnp.pad(wide, sides, mode="reflect")
    count = 1 + (wide.shape[-1] - size) // hop
    frames = jnp.take(wide, np.arange(count)[:, None] * hop + np.arange(size), axis=-1)
    before = (size - frame_length) // 2
    weights = np.pad(window(window_name, frame_length), (before, size - frame_length - before))
    weights_of_frames = jnp.broadcast_to(jnp.asarray(weights, wide.dtype), frames.shape)
    spectrum = jnp.fft.rfft(frames * weights_of_frames, axis=-1)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)  # differentiable at 0, where abs is not
    return power.astype(x.dtype)


@names_errors
def log_mel(
    x: Array,
    *,
    sample_rate: float,
    frame_length: int,
    hop: int,
    bands: int,
    fft_size: int | None = None,
    low: float = 0.0,
    high: float | None = None,
    scale: MelScale = "htk",
    equal_area: bool = False,
    window_name: Window = "hann",
    center: bool = True,
    floor: float = 1e-6,
) -> Array:
    """Log-mel spectrogram: $log(S M + floor)$, with the power S of `spectrogram` and the filters M of `mel_filters`.

    Args:
        x: waveforms `[..., samples]`, floating point, usually from -1 to 1.
        sample_rate: samples a second.
        frame_length: samples in a frame, usually 20 to 30 ms.
        hop: samples from one frame to the next, usually 10 ms.
        bands: how many mel filters.
        fft_size: of the Fourier transform; None for `frame_length`.
        low: the lowest corner of the filters, in hertz.
        high: the highest corner, in hertz; None for half the sample rate.
        scale: `"htk"` or `"slaney"`.
        equal_area: whether filters are divided by half their width in hertz.
        window_name: what a frame is multiplied by.
        center: whether frames are centered; see `spectrogram`.
        floor: what silence has, before the logarithm.

    Returns:
        Natural logarithms `[..., frames, bands]`, in the dtype of `x`.

    Raises:
        ValueError: as `spectrogram` and `mel_filters`; also if `floor` is not positive.
        TypeError: if `x` is not floating point.

    Example:
        >>> sound = jnp.sin(jnp.arange(8000.0) ** 1.5 / 50)
        >>> log_mel(sound, sample_rate=8000, frame_length=200, hop=80, bands=20).shape
        (101, 20)

    Reference:
        Davis and Mermelstein, 1980; see `mel_filters`.

    Warning:
        librosa's `power_to_db` is 10 / log(10) times the logarithm, of the larger of power and floor instead of their
        sum, and cut 80 dB below the largest.
    """
    if not np.float32(floor) > 0:
        raise ValueError(f"floor must be positive, got {floor}" + (", which is 0 in float32" if floor > 0 else ""))
    size = frame_length if fft_size is None else fft_size
    check_floating(x)
    wide = x.astype(compute_dtype(x))
    power = spectrogram(wide, frame_length=frame_length, hop=hop, fft_size=size, window_name=window_name, center=center)
    filters = mel_filters(
        sample_rate=sample_rate,
        fft_size=size,
        bands=bands,
        low=low,
        high=high,
        scale=scale,
        equal_area=equal_area,
        dtype=wide.dtype,
    )
    return jnp.log(power @ filters + floor).astype(x.dtype)
