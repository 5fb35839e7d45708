"""Metrics of sequences: jiwer, sacrebleu, textbook recursions and PyTorch."""

import functools
import importlib

import jax
import jax.numpy as jnp
import jiwer
import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings, strategies as st

from jaxnets import losses, metrics
from tests.oracles import normal


def textbook_distance(first, second):
    """The recursion, as one defines it."""

    @functools.cache
    def distance(i, j):
        if not i or not j:
            return i + j
        same = distance(i - 1, j - 1) + (first[i - 1] != second[j - 1])
        return min(same, distance(i - 1, j) + 1, distance(i, j - 1) + 1)

    return distance(len(first), len(second))


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_edit_distance_is_the_textbooks(first, second):
    expected = textbook_distance(first, second)
    assert metrics.edit_distance(first, second) == expected
    assert metrics.edit_distance(list(first), tuple(second)) == expected
    assert metrics.edit_distance(np.array([*map(ord, first)]), np.array([*map(ord, second)])) == expected


def test_edit_distance_of_ids_on_the_device():
    assert metrics.edit_distance(jnp.array([5, 6, 7]), jnp.array([5, 7])) == 1


def test_published_edit_distances():
    """Examples that textbooks have: Jurafsky and Martin (intention, execution), Wagner and Fischer's kind."""
    for first, second, expected in [("intention", "execution", 5), ("kitten", "sitting", 3), ("saturday", "sunday", 3)]:
        assert metrics.edit_distance(first, second) == expected


SENTENCE = st.lists(st.sampled_from(["the", "cat", "sat", "Cat", "cat."]), min_size=1, max_size=8).map(" ".join)


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.tuples(SENTENCE, SENTENCE), min_size=1, max_size=5))
def test_error_rates_are_those_of_jiwer(pairs):
    predictions, references = map(list, zip(*pairs, strict=True))
    assert metrics.word_error_rate(predictions, references) == pytest.approx(jiwer.wer(references, predictions))
    assert metrics.character_error_rate(predictions, references) == pytest.approx(jiwer.cer(references, predictions))


def test_an_empty_prediction_misses_every_word():
    assert metrics.word_error_rate(["", "a b"], ["one two", "a b"]) == 0.5
    assert metrics.word_error_rate(["a b c"], ["d"]) == 3


# The example of sacrebleu's documentation: BLEU = 48.53 82.4/50.0/45.5/37.5 (BP = 0.943 ratio = 0.944).
REFERENCES = [
    ["The dog bit the man.", "It was not unexpected.", "The man bit him first."],
    ["The dog had bit the man.", "No one was surprised.", "The man had bitten the dog."],
]
PREDICTIONS = ["The dog bit the man.", "It wasn't surprising.", "The man had just bitten him."]


def test_published_bleu():
    assert metrics.bleu(PREDICTIONS, REFERENCES) == pytest.approx(48.53, abs=0.005)


@pytest.mark.parametrize("settings", [{}, {"lowercase": True}, {"tokenize": "none"}, {"tokenize": "char"}])
def test_settings_of_bleu_are_passed_on(settings):
    lower = [text.lower() for text in PREDICTIONS]
    expected = sacrebleu.corpus_bleu(lower, REFERENCES[1:], **settings).score
    assert metrics.bleu(lower, REFERENCES[1], **settings) == expected
    assert (metrics.bleu(lower, REFERENCES[1]) == expected) == (settings == {})


@pytest.mark.parametrize(("tokenize", "warns"), [("13a", True), ("none", False)])
def test_bleu_warns_of_tokenized_texts_only_where_they_are_unexpected(tokenize, warns, caplog):
    texts = ["a dog runs ."] * 200
    assert metrics.bleu(texts, texts, tokenize=tokenize) == pytest.approx(100)
    assert bool(caplog.records) == warns


@pytest.mark.parametrize("function", [metrics.word_error_rate, metrics.character_error_rate, metrics.bleu])
def test_texts_that_do_not_fit(function):
    with pytest.raises(ValueError, match=rf"{function.__name__}: .* got 2 predictions and 1 references"):
        function(["a", "b"], ["a"])
    with pytest.raises(TypeError, match="expected lists of texts, got one text"):
        function("ab", ["a", "b"])
    with pytest.raises(TypeError, match=r"expected lists of texts, got 7 in one; decode ids first"):
        function([7], ["a"])
    if function is metrics.bleu:
        with pytest.raises(ValueError, match=r"bleu: tokenize must be one of none, .*, got '14a'"):
            function(["a"], ["a"], tokenize="14a")
    else:
        with pytest.raises(ValueError, match="the references are empty"):
            function(["a"], [""])


def test_without_sacrebleu(monkeypatch):
    monkeypatch.setitem(importlib.import_module("sys").modules, "sacrebleu", None)
    with pytest.raises(ImportError, match=r"pip install 'jaxnets\[text\]'"):
        metrics.bleu(["a"], ["a"])


def random_sequences(seed):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, (30, 4))
    predictions = np.where(generator.random((30, 4)) < 0.2, generator.integers(0, 3, (30, 4)), labels)
    return predictions, labels, generator.integers(0, 5, 30), generator.integers(0, 3, 30)


@pytest.mark.parametrize("batch_size", [7, 30])
def test_exact_match_of_any_batches_is_that_of_lists(batch_size):
    predictions, labels, lengths, weights = random_sequences(0)
    mask = np.arange(4) < lengths[:, None]
    measure = jax.jit(lambda p, t, m, w: metrics.exact_match(p, t, m, weights=w))
    total = None
    for start in range(0, 30, batch_size):
        rows = slice(start, start + batch_size)
        batch = measure(predictions[rows], labels[rows], mask[rows], weights[rows])
        total = batch if total is None else metrics.merge(total, batch)
    right = [p[:n].tolist() == t[:n].tolist() for p, t, n in zip(predictions, labels, lengths, strict=True)]
    np.testing.assert_allclose(metrics.compute(total), np.average(right, weights=weights), rtol=1e-6)


def test_tokens_beyond_the_labels_dtype_are_not_right():
    labels = jnp.array([[1, 2], [3, 4]], jnp.uint8)
    assert metrics.exact_match(jnp.array([[1, 2], [3, 260]]), labels).compute() == 0.5


def test_accuracy_of_tokens_is_that_of_lists():
    predictions, labels, lengths, _ = random_sequences(1)
    mask = np.arange(4) < lengths[:, None]
    logits = np.eye(3, dtype=np.float32)[predictions]
    right = [a == b for p, t, n in zip(predictions, labels, lengths, strict=True) for a, b in zip(p[:n], t[:n])]  # noqa: B905
    padded = np.where(mask, labels, -1)
    np.testing.assert_allclose(metrics.accuracy(logits, padded, weights=mask).compute(), np.mean(right), rtol=1e-6)


def test_exact_match_errors():
    with pytest.raises(ValueError, match=r"must all be \[batch, time\], got \[2, 3\], \[2, 2\] and \[2, 3\]"):
        metrics.exact_match(jnp.zeros((2, 3), int), jnp.zeros((2, 2), int))
    with pytest.raises(TypeError, match=r"predictions must be integers, got float32; of logits write jnp.argmax"):
        metrics.exact_match(jnp.zeros((2, 3)), jnp.zeros((2, 3), int))


def test_perplexity_of_sequences():
    """By hand: e to the mean over all tokens, however they are divided."""
    logits, labels = normal(5, 4, 3), np.random.default_rng(0).integers(0, 3, (5, 4))
    mask = np.arange(4) < np.array([4, 1, 3, 2, 4])[:, None]
    parts = [losses.sequence_cross_entropy(logits[r], labels[r], mask[r]) for r in (slice(0, 2), slice(2, 5))]
    tokens = np.asarray(losses.cross_entropy(logits, labels))[mask]
    measured = metrics.Perplexity(metrics.merge(*parts))
    np.testing.assert_allclose(metrics.compute(measured), np.exp(tokens.mean()), rtol=1e-6)


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        (np.uint32([3_000_000_000]), np.uint32([4_000_000_000]), 0),
        (np.uint32([3_000_000_000]), np.uint32([3_000_000_000]), 1),
        (np.uint32([2**32 - 1]), np.int32([-1]), 0),
        (np.int8([-1]), np.int32([-1]), 1),
        (np.uint8([255]), np.int8([-1]), 0),
    ],
)
def test_tokens_beyond_a_dtype_are_not_others(first, second, share):
    assert metrics.exact_match(jnp.asarray(first)[None], jnp.asarray(second)[None]).compute() == share
