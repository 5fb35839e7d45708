"""What the experiments with spoken digits share: the spectrogram."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from jaxnets import audio

SAMPLE_RATE, FRAME, HOP, BANDS = 8000, 256, 128, 40
"""Samples a second; samples of a window and between windows (16 ms); mel bands."""
DIGITS = 10


def spectrograms(waveforms: np.ndarray) -> np.ndarray:
    """Log-mel spectrograms `[recordings, frames, bands]` of waveforms `[recordings, samples]`."""
    settings: dict[str, Any] = {"sample_rate": SAMPLE_RATE, "frame_length": FRAME, "hop": HOP, "bands": BANDS}
    compute = jax.jit(functools.partial(audio.log_mel, **settings))
    parts = [compute(waveforms[first : first + 100]) for first in range(0, len(waveforms), 100)]
    return np.concatenate([np.asarray(part) for part in parts])
