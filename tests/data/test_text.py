import jax
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxnets.data import Vocabulary, characters, text_streams, text_windows
from jaxnets.training.batches import batch_indices


@settings(deadline=None, max_examples=80, derandomize=True)
@given(st.text(min_size=1, max_size=60), st.floats(0, 0.9))
def test_encode_and_decode_are_inverse(text, share):
    if round(len(text) * share) == len(text):
        with pytest.raises(ValueError, match="leaves none"):
            characters(text, validation=share)
        return
    result = characters(text, validation=share)
    vocabulary = result.vocabulary
    assert vocabulary.decode(result.train) + vocabulary.decode(result.validation) == text
    assert list(vocabulary.characters) == sorted(set(text))
    assert vocabulary.decode(vocabulary.encode(text)) == text
    assert len(result.validation) == round(len(text) * share)


def test_numbers_are_those_of_numpy_unique():
    text = "to be or not to be"
    expected = np.unique(list(text), return_inverse=True)[1]
    np.testing.assert_array_equal(characters(text, validation=0).train, expected)
    assert characters(text).train.dtype == np.int32


def test_errors():
    vocabulary = Vocabulary("abc")
    with pytest.raises(ValueError, match=r"character 'ж' at position 2 is not among the 3 of this vocabulary, 'abc'"):
        vocabulary.encode("abж")
    for codes in ([3], [-1]):
        with pytest.raises(ValueError, match="from 0 to 2"):
            vocabulary.decode(np.array(codes))
    with pytest.raises(ValueError, match="expected integers"):
        vocabulary.decode(np.array([0.0]))
    with pytest.raises(ValueError, match=r"expected integers \[length\], got int64 \[1, 1\]"):
        vocabulary.decode(np.array([[0]]))
    assert vocabulary.decode(np.array([])) == ""
    with pytest.raises(ValueError, match="empty"):
        characters("")
    with pytest.raises(ValueError, match="got 1"):
        characters("ab", validation=1)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(2, 80), st.integers(1, 9))
def test_windows_make_every_character_a_target_once(count, length):
    codes = np.arange(count)
    if count - 1 < length:
        with pytest.raises(ValueError, match=f"{count} characters are too few"):
            text_windows(codes, length)
        return
    windows = text_windows(codes, length)
    targets = windows[:, 1:].ravel()
    np.testing.assert_array_equal(targets, np.arange(1, 1 + len(targets)))
    np.testing.assert_array_equal(windows[:, :-1], windows[:, 1:] - 1)
    assert count - 1 - len(targets) < length


def test_streams_in_the_batches_of_fit_go_on_where_they_ended():
    codes, streams, length = np.random.default_rng(0).integers(0, 9, 500), 3, 7
    rows = text_streams(codes, streams, length)
    batches = len(rows) // streams
    indices = batch_indices(jax.random.key(0), 0, batches, len(rows), streams, shuffle=False)
    seen = rows[np.asarray(indices)]  # [batches, streams, length + 1]
    for stream in range(streams):
        start = stream * batches * length
        inputs, targets = seen[:, stream, :-1].ravel(), seen[:, stream, 1:].ravel()
        np.testing.assert_array_equal(inputs, codes[start : start + batches * length])
        np.testing.assert_array_equal(targets, codes[start + 1 : start + 1 + batches * length])
    assert batches == 499 // 21


def test_stream_errors():
    with pytest.raises(ValueError, match="10 characters are too few for 2 x 5"):
        text_streams(np.arange(10), 2, 5)
    for codes, streams, length in ((np.ones((3, 3)), 1, 1), (np.arange(9), 0, 1), (np.arange(9), 1, 0)):
        with pytest.raises(ValueError, match="streams and length >= 1"):
            text_streams(codes, streams, length)
