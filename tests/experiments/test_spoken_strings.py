"""The experiment with strings of digits: how they are made, its loss against PyTorch, and how mistakes are counted."""

import importlib
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from experiments.support import digit_strings
from jaxnets.data.fsdd import Recordings

experiment = importlib.import_module("experiments.spoken_strings")


def marked_recordings():
    """Three speakers, ten digits, eight takes; every sample is the number of the recording, counted from 1."""
    places = np.array(list(np.ndindex(10, 3, 8)), np.int32)
    samples = [np.full(5 + row % 7, row + 1, np.int16) for row in range(len(places))]
    digits, speakers, takes = places.T
    return Recordings(samples, digits, speakers, takes, ("a", "b", "c"))


def test_recordings_with_pauses():
    joined = digit_strings.join([np.array([5, 6], np.int16), np.array([7], np.int16)], np.array([1, 0, 2]))
    assert joined.tolist() == [0, 5, 6, 7, 0, 0]


def test_the_splits_are_of_different_recordings_and_the_test_is_the_official_one():
    recordings = marked_recordings()
    train, validation, test = digit_strings.split_recordings(recordings, seed=4)
    assert sorted([*train, *validation, *test]) == list(range(240))
    assert set(recordings.takes[test]) == {0, 1, 2, 3, 4}
    assert set(recordings.takes[[*train, *validation]]) == {5, 6, 7}
    assert len(validation) == 9


def test_a_string_is_of_one_speaker_and_of_the_given_recordings(monkeypatch):
    monkeypatch.setattr(digit_strings, "LONGEST_PAUSE", 10 / digit_strings.SAMPLE_RATE)
    recordings = marked_recordings()
    _, _, test = digit_strings.split_recordings(recordings, seed=0)
    waveforms, digits = digit_strings.draw_waveforms(recordings, test, 200, seed=1)
    assert {len(labels) for labels in digits} == {3, 4, 5, 6, 7}
    for waveform, labels in zip(waveforms, digits, strict=True):
        changes = np.flatnonzero(np.diff(waveform, prepend=0) * waveform)
        rows = waveform[changes] - 1
        assert set(rows) <= set(test)
        assert len({recordings.speakers[row] for row in rows}) == 1
        without_pause = [labels[0], *(now for before, now in itertools.pairwise(labels) if before != now)]
        found = recordings.digits[rows]
        assert [found[0], *found[1:][np.diff(found) != 0]] == without_pause


def test_strings_are_filled_up():
    ramp = np.arange(1024, dtype=np.int16)
    strings = digit_strings.to_strings([ramp, ramp[:300]], [np.array([1, 2, 3]), np.array([4, 5, 6, 7])])
    assert strings.frames.tolist() == [9, 3]
    assert strings.sounds.shape == (2, 9, 40)
    assert strings.digits.tolist() == [[1, 2, 3, -1, -1, -1, -1], [4, 5, 6, 7, -1, -1, -1]]
    assert strings.lengths.tolist() == [3, 4]
    np.testing.assert_allclose(strings.sounds[1, 5:], np.log(1e-6), rtol=1e-5)  # silence


def test_the_loss_is_that_of_pytorch():
    config = experiment.Config(hidden=4)
    model = experiment.network(config)
    params, state = model.init(jax.random.key(0))
    generator = np.random.default_rng(0)
    batch = experiment.Strings(
        jnp.asarray(generator.normal(size=(2, 31, 40)), jnp.float32),
        jnp.array([31, 22], jnp.int32),
        jnp.array([[0, 0, 9, 3, -1, -1, -1], [5, 1, 2, -1, -1, -1, -1]], jnp.int32),
        jnp.array([4, 3], jnp.int32),
    )
    value, _ = experiment.string_loss(config, model)(params, state, batch, key=None, train=False)
    logits, _ = model.apply(params, state, experiment.Sounds(batch.sounds, batch.frames), train=False)
    assert logits.shape == (2, 7, 11)
    expected = torch.nn.functional.ctc_loss(
        torch.tensor(np.array(logits)).log_softmax(-1).transpose(0, 1),
        torch.tensor([1, 1, 10, 4, 6, 2, 3]),
        torch.tensor([7, 5]),
        torch.tensor([4, 3]),
        reduction="none",
    )
    assert float(value) == pytest.approx(expected.mean().item(), rel=1e-5)


def test_what_a_network_reads_and_how_often_it_is_wrong():
    """A network whose likeliest classes are known: 0 stands for no digit, c for the digit c - 1."""
    said = np.array([[0, 4, 4, 0, 4, 2], [1, 1, 1, 2, 9, 9], [8, 0, 0, 0, 8, 8]])

    def apply(params, state, sounds, *, key=None, train):
        return jax.nn.one_hot(sounds.spectrograms[:, :: experiment.JOINED, 0].astype(int), 11), state

    sounds = np.repeat(said, experiment.JOINED, axis=1)[:, :, None].astype(np.float32)
    strings = experiment.Strings(
        sounds, np.array([6, 4, 6]) * experiment.JOINED, np.zeros((3, 7), int), np.zeros(3, int)
    )
    model = experiment.network(experiment.Config(hidden=1))._replace(apply=apply)
    texts, probabilities = experiment.read(model, {}, {}, strings)
    assert texts == ["331", "01", "77"]
    np.testing.assert_array_equal(probabilities.argmax(axis=-1), said)
    # One digit of 3 replaced, none, and one of 3 left out.
    numbers = experiment.score(texts, ["321", "01", "767"])
    assert numbers["digit_error_rate"] == pytest.approx(2 / 8)
    assert numbers["exact_match"] == pytest.approx(1 / 3)
