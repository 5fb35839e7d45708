"""The Free Spoken Digit Dataset: 3,000 recordings of the digits 0 to 9 by six speakers."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxnets.data.data_set import DataSet, Split, hold_out
from jaxnets.data.files import data_folder, read_content
from jaxnets.data.wav import Sound, parse_wav
from jaxnets.errors import FileError

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
DIGITS, TAKES, TEST_TAKES = 10, 50, 5
SAMPLE_RATE = 8000
SAMPLES_SHA256 = "801bcecb25fa3bfb54fb3c0b1d94732d8456ce5b0c1f036667852a341a3aacd4"
"""Of all samples, int16 little-endian, by digit, speaker and take, of commit 26eb9aa of the repository."""
_SOURCE = "https://github.com/Jakobovski/free-spoken-digit-dataset"
_PACKED, _INDEX = "fsdd.pcm16.dz.xz", "index.csv"
_MAX_BYTES = 1 << 26
_MAX_RECORDING = 1 << 20


class Recordings(NamedTuple):
    """All recordings, by digit, speaker and take.

    Attributes:
        samples: one int16 array `[samples]` a recording, 8,000 samples a second.
        digits: what is said, int32 `[recordings]`.
        speakers: who says it, int32 `[recordings]`, indices into `names`.
        takes: how often they had said it before, int32 `[recordings]`; 0 to 4 are for testing.
        names: of the speakers.
    """

    samples: list[np.ndarray]
    digits: np.ndarray
    speakers: np.ndarray
    takes: np.ndarray
    names: tuple[str, ...]


def fsdd(seed: int = 0, *, length: int = 8192, validation: float = 0.1) -> DataSet:
    """Load the Free Spoken Digit Dataset: 2,700 recordings for training and 300, the official ones, for testing.

    The files are those of the repository's folder `recordings`, in `fsdd/recordings` or `fsdd` in `data_folder()`. They
    are not downloaded. Their licence is CC BY-SA 4.0.

    Args:
        seed: of the choice of the validation split.
        length: samples of each recording: longer ones are cut, shorter ones followed by zeros. One in a hundred has
            more than 7,361 samples, the longest 18,262.
        validation: share of the 2,700 to take for validation, in [0, 1).

    Returns:
        Waveforms float32 `[examples, length]` in [-1, 1), 8,000 samples a second, and digits int32 `[examples]`.

    Raises:
        FileNotFoundError: if the files are missing; the error says where to get them.
        ValueError: if a file is damaged, there are others than the 3,000, or a setting is out of range.

    Example:
        `fsdd().test[0]` is `[300, 8192]`.

    Reference:
        Jackson et al., Free Spoken Digit Dataset v1.0.10, 2020.

    Warning:
        The same six speakers are in all splits, so this does not measure how well an unknown speaker is understood.
        Older publications have three or five speakers.
    """
    if length < 1:
        raise ValueError(f"fsdd: length must be at least 1, got {length}")
    recordings = fsdd_recordings()
    waveforms = np.zeros((len(recordings.samples), length), np.float32)
    for row, samples in zip(waveforms, recordings.samples, strict=True):
        row[: len(samples)] = samples[:length] / np.float32(32768)
    is_test = recordings.takes < TEST_TAKES
    whole: list[Split] = [(waveforms[rows], recordings.digits[rows]) for rows in (~is_test, is_test)]
    train, held_out = hold_out(whole[0], validation, seed)
    return DataSet(train, held_out, whole[1], tuple(map(str, range(DIGITS))))


def fsdd_recordings() -> Recordings:
    """Load the recordings as they are, each of its own length; see `fsdd`.

    Raises:
        FileNotFoundError: if the files are missing; the error says where to get them.
        ValueError: if a file is damaged, or there are others than the 3,000.

    Example:
        `recordings.samples[recordings.digits == 7]` are the sevens of `recordings = fsdd_recordings()`.
    """
    folder = data_folder() / "fsdd"
    places = np.array(list(np.ndindex(DIGITS, len(SPEAKERS), TAKES)), np.int32)
    names = [f"{digit}_{SPEAKERS[speaker]}_{take}.wav" for digit, speaker, take in places]
    samples = read_packed(folder, names) if (folder / _PACKED).is_file() else _read_folder(folder, names)
    digest = hashlib.sha256()
    for recording in samples:
        digest.update(recording.astype("<i2").tobytes())
    if digest.hexdigest() != SAMPLES_SHA256:
        raise FileError(
            f"the recordings in {folder} have SHA-256 {digest.hexdigest()} where {SAMPLES_SHA256} was expected; they "
            f"are damaged or of another version: get them again from {_SOURCE}"
        )
    digits, speakers, takes = np.ascontiguousarray(places.T)
    return Recordings(samples, digits, speakers, takes, SPEAKERS)


def _read_folder(folder: Path, names: list[str]) -> list[np.ndarray]:
    """Read WAV files from `folder/recordings`, or `folder`."""
    place = folder / "recordings" if (folder / "recordings").is_dir() else folder
    missing = [name for name in names if not (place / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{len(missing):,} of {len(names):,} recordings, such as {missing[0]}, are missing in {place}. Write\n"
            f"  git clone {_SOURCE} {folder}\n"
            "or set JAXNETS_DATA to a folder that has fsdd/recordings"
        )
    return [_mono(parse_wav(read_content(place / name, _MAX_RECORDING), str(place / name)), name) for name in names]


def _mono(sound: Sound, name: str) -> np.ndarray:
    if sound.samples.shape[1] != 1 or sound.sample_rate != SAMPLE_RATE:
        raise FileError(
            f"{name} must have one channel and {SAMPLE_RATE:,} samples a second, got {sound.samples.shape[1]} and "
            f"{sound.sample_rate:,}; it is another recording"
        )
    return sound.samples[:, 0]


def read_packed(folder: Path, names: list[str]) -> list[np.ndarray]:
    """Read all recordings from one file, `fsdd.pcm16.dz.xz`, whose parts `index.csv` lists.

    It holds the differences from each sample to the next of all recordings one after the other, d as 2 d if d >= 0 and
    as -2 d - 1 else, first the low byte of each, then the high byte of each.
    """
    index = folder / _INDEX
    rows = list(csv.DictReader(io.StringIO(read_content(index, _MAX_RECORDING).decode("utf-8"))))
    try:
        lengths = {row["file"]: int(row["samples"]) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{index} must have the columns file and samples, with whole numbers: {error}") from error
    if list(lengths) != names:
        raise FileError(f"{index} must list the {len(names):,} recordings from {names[0]} on; it lists others")
    content = read_content(folder / _PACKED, _MAX_BYTES)
    if len(content) != 2 * sum(lengths.values()) or min(lengths.values()) < 1:
        raise FileError(
            f"{folder / _PACKED} holds {len(content):,} bytes where {index} requires {2 * sum(lengths.values()):,}"
        )
    low, high = np.frombuffer(content, np.uint8).reshape(2, -1).astype(np.int32)
    coded = low | high << 8
    whole = np.cumsum((coded >> 1) ^ -(coded & 1), dtype=np.int32).astype(np.int16)  # modulo 2^16, as the differences
    return np.split(whole, np.cumsum(list(lengths.values()))[:-1])
