"""WAV files against the readers of the standard library and of SciPy."""

import io
import struct
import wave

import numpy as np
import pytest
import scipy.io.wavfile
from hypothesis import given, settings, strategies as st

from jaxnets.data import parse_wav, read_wav


def written(samples, rate=8000, width=2):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return stream.getvalue()


def with_size(content):
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


SAMPLES = np.random.default_rng(0).integers(-(2**15), 2**15, (9, 1)).astype(np.int16)
CONTENT = written(SAMPLES)


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 50), st.integers(1, 3), st.sampled_from([8000, 16000, 44100]))
def test_what_the_standard_library_and_scipy_write_is_read(count, channels, rate):
    samples = np.random.default_rng(count).integers(-(2**15), 2**15, (count, channels)).astype(np.int16)
    sound = parse_wav(written(samples, rate))
    np.testing.assert_array_equal(sound.samples, samples)
    assert (sound.sample_rate, sound.samples.dtype) == (rate, np.int16)
    stream = io.BytesIO()
    scipy.io.wavfile.write(stream, rate, samples)
    np.testing.assert_array_equal(parse_wav(stream.getvalue()).samples, samples)


def test_other_chunks_are_skipped(tmp_path):
    title = b"LIST" + struct.pack("<I", 5) + b"title\0"
    for content in (CONTENT[:12] + title + CONTENT[12:], CONTENT + title, CONTENT[:36] + title + CONTENT[36:]):
        path = tmp_path / "a.wav"
        path.write_bytes(with_size(content))
        np.testing.assert_array_equal(read_wav(path).samples, SAMPLES)
        np.testing.assert_array_equal(scipy.io.wavfile.read(path)[1], SAMPLES[:, 0])


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(0, len(CONTENT) - 1))
def test_cut_anywhere_is_an_error_that_names_the_file(cut):
    for content in (CONTENT[:cut], with_size(CONTENT[:cut]) if cut >= 8 else b""):
        if content[:4] == b"RIFF" and cut > 44 and content[4:8] != CONTENT[4:8]:
            with pytest.raises(ValueError, match=r"take\.wav is cut off: chunk b'data' has 18 bytes"):
                parse_wav(content, "take.wav")
        else:
            with pytest.raises(ValueError, match=r"take\.wav "):
                parse_wav(content, "take.wav")


def changed(place, value):
    return CONTENT[:place] + struct.pack("<H", value) + CONTENT[place + 2 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a WAV file: it begins with nothing"),
        (b"ID3" + CONTENT[3:], "is not a WAV file: it begins with 49 44 33"),
        (CONTENT + b"!", "longer than it says: its header says 62 bytes, it has 63"),
        (changed(20, 3), r"has format 3 with 16 bits, and only format 1 \(PCM\) with 16 bits can be read; convert it"),
        (changed(20, 65534), "has format 65534"),
        (changed(34, 24), "has format 1 with 24 bits"),
        (written(SAMPLES[:8], width=1), "has format 1 with 8 bits"),
        (changed(22, 0), "is damaged: 0 channels"),
        (changed(22, 2), "2 channels, 8000 samples, 16000 bytes a second and 2 bytes a sample contradict"),
        (with_size(CONTENT[:12] + CONTENT[36:]), "has no fmt chunk"),
        (with_size(CONTENT[:36]), "has no data chunk"),
        (with_size(CONTENT + CONTENT[36:]), "has two chunks b'data'"),
        (with_size(CONTENT[:40] + struct.pack("<I", 17) + CONTENT[44:61] + b"\0"), "has 17 bytes of samples"),
        (with_size(CONTENT[:16] + struct.pack("<I", 14) + CONTENT[20:34] + CONTENT[36:]), "has 14 bytes where 16"),
    ],
)
def test_errors(content, message):
    with pytest.raises(ValueError, match=message):
        parse_wav(content)


def test_no_more_than_the_limit_is_read(tmp_path):
    (tmp_path / "a.wav").write_bytes(CONTENT)
    with pytest.raises(ValueError, match=r"a\.wav holds more than the expected 50 bytes"):
        read_wav(tmp_path / "a.wav", max_bytes=50)
