import collections

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from jaxnets.data import make_buckets, pad_sequences


def random_sequences(counts, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.integers(1, 100, count) for count in counts]


@given(st.lists(st.integers(0, 12), min_size=1, max_size=9))
@settings(deadline=None, max_examples=40, derandomize=True)
def test_padding_is_that_of_pytorch(counts):
    sequences = random_sequences(counts)
    padded, lengths = pad_sequences(sequences, max([1, *counts]), pad=7)
    expected = torch.nn.utils.rnn.pad_sequence(list(map(torch.tensor, sequences)), batch_first=True, padding_value=7)
    if max(counts):
        np.testing.assert_array_equal(padded, expected.numpy())
    assert lengths.tolist() == counts
    assert padded.dtype == lengths.dtype == np.int32


def test_too_long_sequences():
    sequences = random_sequences((2, 5, 3, 6))
    message = "sequence 1 has 5 tokens where at most 4 fit, and so 1 more .the longest has 6.; take a larger length"
    with pytest.raises(ValueError, match=f"pad_sequences: {message}"):
        pad_sequences(sequences, 4)
    with pytest.raises(ValueError, match=f"make_buckets: text: {message}"):
        make_buckets({"text": sequences}, lengths=[2, 4], batch_size=1)
    padded, lengths = pad_sequences(sequences, 4, truncate=True)
    np.testing.assert_array_equal(padded[3], sequences[3][:4])
    assert lengths.tolist() == [2, 4, 3, 4]
    cut = next(make_buckets({"text": sequences}, lengths=[4], batch_size=4, truncate=True).in_order())
    np.testing.assert_array_equal(np.sort(cut["text"], axis=0), np.sort(padded, axis=0))


def contents(batch):
    """The real examples of a batch as texts without padding, with their labels."""
    rows = zip(*(batch[name] for name in ("text", "text_lengths", "label", "weights")), strict=True)
    return [(tuple(text[:length].tolist()), int(label)) for text, length, label, weight in rows if weight]


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.integers(0, 16), min_size=1, max_size=40), st.integers(1, 5), st.integers(0, 3))
def test_every_example_is_in_every_epoch_once(counts, batch_size, seed):
    sequences, lengths = random_sequences(counts), [4, 8, 16]
    buckets = make_buckets(
        {"text": sequences}, {"label": np.arange(len(counts))}, lengths=lengths, batch_size=batch_size, seed=seed
    )
    expected = collections.Counter((tuple(s.tolist()), i) for i, s in enumerate(sequences))
    steps = buckets.steps_per_epoch
    assert steps == -(-len(counts) // batch_size)  # one batch at most is not full
    for epoch in (0, 1, 5):
        batches = [buckets.batch(seed, epoch * steps + n) for n in range(steps)]
        assert sum((collections.Counter(contents(batch)) for batch in batches), collections.Counter()) == expected
        assert {batch["text"].shape for batch in batches} <= {(batch_size, length) for length in lengths}
        assert all(batch["weights"].any() for batch in batches)
    assert sum((collections.Counter(contents(b)) for b in buckets.in_order()), collections.Counter()) == expected


def test_padding_is_short():
    """At most one batch's worth of examples of each length is padded further than needed."""
    buckets = make_buckets(
        {"text": random_sequences(np.arange(1000) % 64 + 1)}, lengths=[16, 32, 48, 64], batch_size=[64, 32, 21, 16]
    )
    rows = collections.Counter()
    for batch in buckets.in_order():
        shape = batch["text"].shape
        rows[shape[1]] += int((batch["text_lengths"] <= shape[1] - 16).sum())
        assert shape[0] == {16: 64, 32: 32, 48: 21, 64: 16}[shape[1]]
        assert shape[0] * shape[1] <= 1024
    assert all(count < 64 for count in rows.values())


def test_the_batch_of_a_step_depends_on_seed_and_step_alone():
    def make(seed):
        return make_buckets({"text": random_sequences(range(1, 33))}, lengths=[16, 32], batch_size=2, seed=seed)

    one, again, other = make(0), make(0), make(1)
    forward = [one.batch(3, n) for n in range(40)]
    backward = [again.batch(3, n) for n in reversed(range(40))][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert all(np.array_equal(a[name], b[name]) for name in a)

    def first(buckets, seed):
        return [buckets.batch(seed, n)["text"].tolist() for n in range(16)]

    assert first(one, 3) != first(one, 4)
    assert first(one, 3) != first(other, 3)
    assert first(one, 3) != [one.batch(3, n)["text"].tolist() for n in range(16, 32)]


def test_pairs_have_one_length():
    sources, targets = random_sequences((2, 7, 3)), random_sequences((6, 1, 3), seed=1)
    buckets = make_buckets({"source": sources, "target": targets}, lengths=[4, 8], batch_size=1)
    found = {tuple(b["source_lengths"]) + tuple(b["target_lengths"]): b for b in buckets.in_order()}
    assert {lengths: b["source"].shape[1] for lengths, b in found.items()} == {(2, 6): 8, (7, 1): 8, (3, 3): 4}
    assert all(b["source"].shape == b["target"].shape for b in found.values())
    np.testing.assert_array_equal(found[2, 6]["target"][0, :6], targets[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lengths": [8, 8]}, r"lengths must increase, such as \[16, 32, 64\], got \[8, 8\]"),
        ({"lengths": []}, "lengths must increase"),
        ({"batch_size": [1, 2, 3]}, r"expected one batch_size or 2, one a length, got \[1, 2, 3\]"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"arrays": {"label": np.zeros(3)}}, r"as many examples of every name, .*\{'text': 2, 'label': 3\}"),
        ({"arrays": {"weights": np.zeros(2)}}, "'weights' is the name of an array of the batches already"),
        ({"sequences": {"text": []}}, "one at least, got {'text': 0}"),
        ({"sequences": {}}, "one at least, got {}"),
        ({"sequences": {"text": [np.zeros((2, 2), int)]}}, r"text: sequence 0 must be \[length\], got \[2, 2\]"),
    ],
)
def test_errors(change, message):
    arguments = {"sequences": {"text": random_sequences((2, 3))}, "lengths": [4, 8], "batch_size": 2} | change
    with pytest.raises(ValueError, match=message):
        make_buckets(**arguments)


def test_what_is_no_integer():
    with pytest.raises(TypeError, match="sequence 1 must hold integers, got float64"):
        pad_sequences([np.array([1]), np.array([0.5])], 3)
    with pytest.raises(TypeError, match=r"text: sequence 0 must hold integers, got .*; write encode\(text\)"):
        make_buckets({"text": [np.array(["a"])]}, lengths=[4], batch_size=1)
