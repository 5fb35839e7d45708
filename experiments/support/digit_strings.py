"""Strings of spoken digits: recordings of one speaker, joined with random pauses."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments.support.digit_sounds import DIGITS, HOP, SAMPLE_RATE, spectrograms
from jaxnets.data.fsdd import TEST_TAKES, Recordings

DIGITS_IN_STRING = range(3, 8)
LONGEST_PAUSE = 0.2
"""In seconds; before, between and behind the digits."""


class Strings(NamedTuple):
    """Strings of digits, and their sounds.

    Attributes:
        sounds: log-mel spectrograms `[strings, frames, bands]`.
        frames: how many are real, int32 `[strings]`; the others are silent.
        digits: int32 `[strings, longest]`, 0 to 9, filled up with -1.
        lengths: how many digits, int32 `[strings]`.
    """

    sounds: np.ndarray
    frames: np.ndarray
    digits: np.ndarray
    lengths: np.ndarray


def split_recordings(recordings: Recordings, seed: int, validation: float = 0.1) -> list[np.ndarray]:
    """The rows of training, validation and test: the official test takes, and a random share of all others."""
    is_test = recordings.takes < TEST_TAKES
    others = np.random.default_rng(seed).permutation(np.flatnonzero(~is_test))
    held_out = round(len(others) * validation)
    return [np.sort(others[held_out:]), np.sort(others[:held_out]), np.flatnonzero(is_test)]


def draw_strings(recordings: Recordings, rows: np.ndarray, count: int, seed: int) -> Strings:
    """Draw strings of the recordings of `rows`."""
    return to_strings(*draw_waveforms(recordings, rows, count, seed))


def draw_waveforms(
    recordings: Recordings, rows: np.ndarray, count: int, seed: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Draw speakers, numbers of digits, recordings and pauses, all equally likely; returns waveforms and digits."""
    generator = np.random.default_rng(seed)
    of_speakers = [rows[recordings.speakers[rows] == speaker] for speaker in np.unique(recordings.speakers[rows])]
    waveforms, digits = [], []
    for _ in range(count):
        own = of_speakers[generator.integers(len(of_speakers))]
        length = generator.integers(DIGITS_IN_STRING.start, DIGITS_IN_STRING.stop)
        chosen = own[generator.integers(len(own), size=length)]
        pauses = generator.integers(0, round(LONGEST_PAUSE * SAMPLE_RATE) + 1, size=length + 1)
        waveforms.append(join([recordings.samples[row] for row in chosen], pauses))
        digits.append(recordings.digits[chosen])
    return waveforms, digits


def join(samples: list[np.ndarray], pauses: np.ndarray) -> np.ndarray:
    """Put recordings behind each other, with pauses of so many samples before each and behind the last."""
    parts = [np.zeros(pauses[0], np.int16)]
    for recording, pause in zip(samples, pauses[1:], strict=True):
        parts += [recording, np.zeros(pause, np.int16)]
    return np.concatenate(parts)


def to_strings(waveforms: list[np.ndarray], digits: list[np.ndarray]) -> Strings:
    """Compute spectrograms, and fill up to the longest."""
    sizes = np.array([len(waveform) for waveform in waveforms])
    padded = np.zeros((len(waveforms), sizes.max()), np.float32)
    for row, waveform in zip(padded, waveforms, strict=True):
        row[: len(waveform)] = waveform / np.float32(32768)
    lengths = np.array([len(labels) for labels in digits], np.int32)
    filled = np.full((len(digits), DIGITS_IN_STRING.stop - 1), -1, np.int32)
    for labels_row, labels in zip(filled, digits, strict=True):
        labels_row[: len(labels)] = labels
    return Strings(spectrograms(padded), (1 + sizes // HOP).astype(np.int32), filled, lengths)


def hums(takes: int = 10) -> Recordings:
    """Hums instead of digits, of ten pitches, so that `--smoke` needs no files."""
    places = np.array(list(np.ndindex(DIGITS, 2, takes)), np.int32)
    times = np.arange(1600) / SAMPLE_RATE
    samples = [(8000 * np.sin(2 * np.pi * (300 + 200 * digit) * times)).astype(np.int16) for digit, _, _ in places]
    digits, speakers, of_takes = np.ascontiguousarray(places.T)
    return Recordings(samples, digits, speakers, of_takes, ("first", "second"))
