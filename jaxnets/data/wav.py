"""Sound from WAV files of 16-bit samples."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxnets.data.files import read_content
from jaxnets.errors import FileError

MAX_BYTES = 1 << 30
_PCM, _FORMAT_BYTES, _SAMPLE_BYTES = 1, 16, 2


class Sound(NamedTuple):
    """A recording.

    Attributes:
        samples: int16 `[samples, channels]`; divided by 32,768 they are from -1 to 1.
        sample_rate: samples a second.
    """

    samples: np.ndarray
    sample_rate: int


def parse_wav(content: bytes, name: str = "the WAV file") -> Sound:
    """Return the sound in a WAV file of uncompressed 16-bit samples (PCM).

    The file has `RIFF`, its size and `WAVE`, and then chunks: four letters, a size, and as many bytes, filled up to an
    even number. `fmt ` comes before `data`, each once; other chunks, such as titles, are skipped.

    Args:
        content: all bytes of the file.
        name: its name in errors.

    Returns:
        The sound, in native byte order.

    Raises:
        ValueError: if the file is cut off, has bytes too many, or holds another format than 16-bit PCM.

    Example:
        >>> header = b"RIFF" + (40).to_bytes(4, "little") + b"WAVEfmt " + bytes([16, 0, 0, 0, 1, 0, 1, 0])
        >>> header += struct.pack("<IIHH", 8000, 16000, 2, 16) + b"data" + (4).to_bytes(4, "little")
        >>> parse_wav(header + struct.pack("<2h", -5, 300)).samples.ravel()
        array([ -5, 300], dtype=int16)

    Reference:
        IBM and Microsoft, Multimedia Programming Interface and Data Specifications 1.0, 1991.
    """
    if len(content) < 12 or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        raise FileError(f"{name} is not a WAV file: it begins with {content[:12].hex(' ') or 'nothing'}")
    announced = int.from_bytes(content[4:8], "little") + 8
    if announced != len(content):
        kind = "cut off" if announced > len(content) else "longer than it says"
        raise FileError(f"{name} is {kind}: its header says {announced:,} bytes, it has {len(content):,}")
    chunks = _chunks(content, name)
    missing = [letters.decode().strip() for letters in (b"fmt ", b"data") if letters not in chunks]
    if missing:
        raise FileError(f"{name} has no {' and no '.join(missing)} chunk; it has {len(chunks)} other chunks")
    channels, sample_rate = _format(chunks[b"fmt "], name)
    data = chunks[b"data"]
    if len(data) % (channels * _SAMPLE_BYTES):
        raise FileError(
            f"{name} has {len(data):,} bytes of samples, which {channels} channels of 16 bits do not divide"
        )
    samples = np.frombuffer(data, "<i2").astype(np.int16).reshape(-1, channels)
    return Sound(samples, sample_rate)


def _chunks(content: bytes, name: str) -> dict[bytes, memoryview]:
    """The bytes of each chunk by its four letters."""
    view, found = memoryview(content), {}
    place = 12
    while place < len(content):
        letters, size = content[place : place + 4], int.from_bytes(content[place + 4 : place + 8], "little")
        first = place + 8
        if first + size > len(content):
            left = max(0, len(content) - first)
            raise FileError(f"{name} is cut off: chunk {letters!r} has {size:,} bytes, of which {left:,} are there")
        if letters in found and letters in (b"fmt ", b"data"):
            raise FileError(f"{name} has two chunks {letters!r}; it is damaged")
        found[letters] = view[first : first + size]
        place = first + size + size % 2
    return found


def _format(chunk: memoryview, name: str) -> tuple[int, int]:
    """Channels and samples a second; ValueError if the format is another one than 16-bit PCM."""
    if len(chunk) < _FORMAT_BYTES:
        raise FileError(f"{name} is damaged: its fmt chunk has {len(chunk)} bytes where {_FORMAT_BYTES} are needed")
    code, channels, sample_rate, rate, frame, bits = struct.unpack("<HHIIHH", chunk[:_FORMAT_BYTES])
    if code != _PCM or bits != 8 * _SAMPLE_BYTES:
        raise FileError(
            f"{name} has format {code} with {bits} bits, and only format 1 (PCM) with 16 bits can be read; convert it, "
            "for example by `ffmpeg -i in.wav -c:a pcm_s16le out.wav`"
        )
    if not channels or not sample_rate or frame != channels * _SAMPLE_BYTES or rate != sample_rate * frame:
        raise FileError(
            f"{name} is damaged: {channels} channels, {sample_rate} samples, {rate} bytes a second and {frame} bytes "
            "a sample contradict each other"
        )
    return channels, sample_rate


def read_wav(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Sound:
    """Read the sound in a WAV file; see `parse_wav`.

    Args:
        path: the file.
        max_bytes: the largest number of bytes to read.

    Returns:
        The sound.

    Raises:
        ValueError: if the file is not exactly one complete sound of 16-bit samples, or has more than `max_bytes`.

    Example:
        `read_wav("fsdd/recordings/7_jackson_0.wav").samples` is int16 `[3456, 1]`.
    """
    return parse_wav(read_content(Path(path).expanduser(), max_bytes), str(path))
