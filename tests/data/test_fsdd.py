"""The loader of spoken digits, on small recordings made here and on the real ones."""

import hashlib
import importlib
import io
import lzma
import wave

import numpy as np
import pytest

from jaxnets.data import fsdd, fsdd_recordings
from tests.data.test_real_files import needs

module = importlib.import_module("jaxnets.data.fsdd")
SPEAKERS = ("ann", "bob")


def wav(samples, rate=8000, channels=1):
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return stream.getvalue()


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """Ten digits by two speakers, seven takes, of 1 to 40 samples, as if they were the 3,000."""
    generator = np.random.default_rng(0)
    made = {}
    for digit in range(10):
        for speaker in SPEAKERS:
            for take in range(7):
                samples = generator.integers(-(2**15), 2**15, generator.integers(1, 41)).astype(np.int16)
                made[f"{digit}_{speaker}_{take}.wav"] = samples
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    monkeypatch.setattr(module, "SPEAKERS", SPEAKERS)
    monkeypatch.setattr(module, "TAKES", 7)
    digest = hashlib.sha256(b"".join(samples.tobytes() for samples in made.values())).hexdigest()
    monkeypatch.setattr(module, "SAMPLES_SHA256", digest)
    return made


def write_files(folder, recordings):
    folder.mkdir(parents=True)
    for name, samples in recordings.items():
        (folder / name).write_bytes(wav(samples))


def write_packed(folder, recordings):
    """As the file was made: differences of 16 bits, their sign in the lowest bit, low bytes first."""
    folder.mkdir()
    whole = np.concatenate(list(recordings.values())).astype(np.int64)
    differences = np.diff(whole, prepend=0).astype(np.int16).astype(np.int32)
    coded = np.where(differences >= 0, 2 * differences, -2 * differences - 1)
    content = (coded & 255).astype(np.uint8).tobytes() + (coded >> 8).astype(np.uint8).tobytes()
    (folder / "fsdd.pcm16.dz.xz").write_bytes(lzma.compress(content))
    lines = ["file,samples,sha256_16", *(f"{name},{len(samples)},-" for name, samples in recordings.items())]
    (folder / "index.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("write", "place"), [(write_files, "fsdd/recordings"), (write_files, "fsdd"), (write_packed, "fsdd")]
)
def test_all_forms_have_the_same_recordings(recordings, tmp_path, write, place):
    write(tmp_path / place, recordings)
    loaded = fsdd_recordings()
    for (name, samples), found, digit, speaker, take in zip(recordings.items(), *loaded[:4], strict=True):
        assert name == f"{digit}_{loaded.names[speaker]}_{take}.wav"
        np.testing.assert_array_equal(found, samples)


def test_splits_and_lengths(recordings, tmp_path):
    write_files(tmp_path / "fsdd" / "recordings", recordings)
    data = fsdd(length=20, validation=0.25)
    assert [part[0].shape for part in data[:3]] == [(30, 20), (10, 20), (100, 20)]
    test = {name: samples for name, samples in recordings.items() if int(name.split("_")[2][:-4]) < 5}
    for (name, samples), row, digit in zip(test.items(), *data.test, strict=True):
        expected = np.zeros(20)
        expected[: min(20, len(samples))] = samples[:20] / 32768
        np.testing.assert_array_equal(row, expected)
        assert int(name[0]) == digit
    assert np.bincount(np.concatenate([data.train[1], data.validation[1]])).tolist() == [4] * 10
    assert data.classes == tuple("0123456789")


def test_errors(recordings, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"140 of 140 recordings, such as 0_ann_0\.wav.*\n  git clone https"):
        fsdd()
    folder = tmp_path / "fsdd" / "recordings"
    write_files(folder, recordings)
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        fsdd(length=0)
    file = folder / "3_bob_2.wav"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"3_bob_2\.wav is cut off"):
        fsdd()
    file.write_bytes(wav(np.zeros(4, np.int16), rate=16000))
    with pytest.raises(ValueError, match=r"3_bob_2\.wav must have one channel and 8,000 samples a second, got 1 and"):
        fsdd()
    file.write_bytes(content[:-2] + b"!!")
    with pytest.raises(ValueError, match=r"SHA-256 .* was expected; they are damaged or of another version"):
        fsdd()


def test_errors_of_the_packed_form(recordings, tmp_path):
    folder = tmp_path / "fsdd"
    write_packed(folder, recordings)
    index = (folder / "index.csv").read_text()
    for text, message in (
        (index.replace("0_ann_0.wav", "other.wav"), "must list the 140 recordings from 0_ann_0.wav on"),
        (index.replace("samples", "length", 1), "must have the columns file and samples"),
        (index.replace("0_ann_0.wav,", "0_ann_0.wav,1"), "bytes where .*index.csv requires"),
    ):
        (folder / "index.csv").write_text(text)
        with pytest.raises(ValueError, match=message):
            fsdd_recordings()


def test_the_real_recordings():
    mark = needs("fsdd/index.csv")
    if mark.args[0]:
        pytest.skip(mark.kwargs["reason"])
    loaded = fsdd_recordings()
    lengths = [len(samples) for samples in loaded.samples]
    assert (len(lengths), sum(lengths), min(lengths), max(lengths)) == (3000, 10_498_424, 1148, 18_262)
    data = fsdd()
    assert [part[0].shape for part in data[:3]] == [(2430, 8192), (270, 8192), (300, 8192)]
    assert np.bincount(data.test[1]).tolist() == [30] * 10
