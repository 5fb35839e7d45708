"""What all tokenizers promise, and what each kind does."""

import collections
import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from jaxnets.data import ByteTokenizer, SubwordTokenizer, Vocabulary, WordTokenizer, encode_all, until_end

TEXTS = [
    "Zwei junge Männer sind im Freien.",
    "Two young, White males are outside near many bushes.",
    "low lower lowest",
]
SUBWORDS = SubwordTokenizer.of(TEXTS * 3, size=300)


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.text(max_size=40))
def test_characters_bytes_and_subwords_give_the_text_back(text):
    for names in ((), ("pad", "begin", "end")):
        for tokenizer in (Vocabulary.of([text], special_names=names), ByteTokenizer(names), SUBWORDS):
            ids = tokenizer.encode(text)
            assert ids.dtype == np.int32
            assert tokenizer.decode(ids) == text
            assert not set(ids.tolist()) & set(tokenizer.special.values())
            assert ids.max(initial=-1) < tokenizer.size


def test_bytes_are_those_of_python():
    text = "naïve Straße 東京"
    np.testing.assert_array_equal(ByteTokenizer().encode(text), list(text.encode("utf-8")))
    np.testing.assert_array_equal(ByteTokenizer(("pad", "end")).encode(text), np.array(list(text.encode())) + 2)
    assert ByteTokenizer().decode(np.array([0x6E, 0xC3])) == b"n\xc3".decode(errors="replace")


@pytest.mark.parametrize(
    "tokenizer",
    [
        Vocabulary("abc", ("pad", "begin", "end")),
        ByteTokenizer(("pad", "begin", "end")),
        WordTokenizer(("abc",), split="spaces"),
        SUBWORDS,
    ],
)
def test_special_tokens(tokenizer):
    special = tokenizer.special
    assert sorted(special.values()) == list(range(len(special)))
    assert special["pad"] == 0
    inside, plain = encode_all(tokenizer, ["abc"], begin=True, end=True)[0], tokenizer.encode("abc")
    np.testing.assert_array_equal(inside, [special["begin"], *plain, special["end"]])
    padded = np.concatenate([inside, np.zeros(3, np.int32)])
    assert tokenizer.decode(padded) == "abc"
    np.testing.assert_array_equal(until_end(padded[1:], special["end"]), plain)
    for wrong in ([tokenizer.size], [-1]):
        with pytest.raises(ValueError, match=f"from 0 to {tokenizer.size - 1}"):
            tokenizer.decode(np.array(wrong))
    with pytest.raises(TypeError, match="expected a text, got list"):
        tokenizer.encode(["abc"])


@pytest.mark.parametrize("name", ["<pad>", "pad", "<unknown>", "unknown", "end"])
def test_no_text_becomes_a_special_token(name):
    for tokenizer in (SUBWORDS, WordTokenizer.of([name], split="spaces")):
        assert tokenizer.encode(name).min() >= len(tokenizer.special)


def test_unknown_characters_are_an_error_that_says_where():
    vocabulary = Vocabulary.of(["cab"])
    with pytest.raises(ValueError, match=r"texts\[1\]: character 'x' at position 2 is not among the 3 of this"):
        encode_all(vocabulary, ["abc", "abx"])
    with pytest.raises(ValueError, match=r"this Vocabulary has no token 'end'.*special_names=\('end',\)"):
        encode_all(vocabulary, ["abc"], end=True)
    lenient = Vocabulary.of(["cab"], special_names=("unknown",))
    np.testing.assert_array_equal(lenient.encode("axb"), [1, 0, 2])
    assert lenient.decode([1, 0, 2]) == "a\ufffdb"


def test_words_are_those_of_a_counter():
    texts = ["the cat and the dog", "the dog", "a cat"]
    counts = collections.Counter(" ".join(texts).split())
    tokenizer = WordTokenizer.of(texts, minimum_count=2, split="spaces")
    assert set(tokenizer.words) == {word for word, count in counts.items() if count >= 2}
    assert [counts[word] for word in tokenizer.words] == sorted((counts[w] for w in tokenizer.words), reverse=True)
    assert tokenizer.words == ("the", "cat", "dog")  # equally frequent ones by alphabet
    np.testing.assert_array_equal(tokenizer.encode("the big cat"), [4, 1, 5])
    assert tokenizer.decode([2, 4, 1, 5, 3, 0]) == "the <unknown> cat"


def test_words_of_a_german_sentence():
    """By hand."""
    tokenizer = WordTokenizer((), lowercase=True)
    text = 'Ein Mann im T-Shirt spielt "Fußball", 3:2, geht\'s?'
    words = ["ein", "mann", "im", "t-shirt", "spielt", '"', "fußball", '"', ",", "3", ":", "2", ",", "geht's", "?"]
    assert tokenizer.words_of(text) == words


def textbook_merges(words, count):
    """The byte-pair encoding of Sennrich et al. (2016), algorithm 1, without an end of word; ties as they come."""
    vocabulary = {tuple(word): frequency for word, frequency in words.items()}
    merges = []
    for _ in range(count):
        pairs = collections.Counter()
        for symbols, frequency in vocabulary.items():
            for pair in itertools.pairwise(symbols):
                pairs[pair] += frequency
        best = max(pairs.values())
        merges.append((best, {"".join(pair) for pair, frequency in pairs.items() if frequency == best}))
        pair = min(pair for pair, frequency in pairs.items() if frequency == best)
        pattern = re.compile(r"(?<!\S)" + re.escape(" ".join(pair)) + r"(?!\S)")
        vocabulary = {
            tuple(pattern.sub("".join(pair), " ".join(symbols)).split()): frequency
            for symbols, frequency in vocabulary.items()
        }
    return merges


def test_subwords_are_those_of_the_paper():
    words = {"low": 5, "lower": 2, "newest": 6, "widest": 3}
    tokenizer = SubwordTokenizer.of([w for word, n in words.items() for w in [word] * n], size=3 + 256 + 4)
    learned = [tokenizer.decode([i]) for i in range(3 + 256, tokenizer.size)]
    assert set(learned[:2]) == {"es", "est"}
    assert set(learned[2:]) == {"lo", "low"}
    for name, (_, candidates) in zip(learned, textbook_merges(words, 4), strict=True):
        assert name in candidates


def test_subwords_join_the_most_frequent_pairs_of_random_words():
    generator = np.random.default_rng(0)
    words = {"".join(generator.choice(list("abcd"), 6)): int(generator.integers(1, 10_000)) for _ in range(60)}
    tokenizer = SubwordTokenizer.of([w for word, n in words.items() for w in [word] * n], size=256 + 3 + 8)
    learned = [tokenizer.decode([i]) for i in range(3 + 256, tokenizer.size)]
    for name, (_, candidates) in zip(learned, textbook_merges(words, 8), strict=True):
        assert candidates == {name}


def test_training_subwords_twice_gives_the_same():
    assert SubwordTokenizer.of(iter(TEXTS * 3), size=300) == SUBWORDS
    assert SubwordTokenizer.of(TEXTS, size=2000).size < 2000  # there are no more pairs


def test_what_is_refused():
    with pytest.raises(ValueError, match="distinct, got 'aba'"):
        Vocabulary("aba")
    with pytest.raises(ValueError, match=r"some of \('pad', 'unknown', 'begin', 'end'\), in this order"):
        Vocabulary("ab", ("end", "pad"))
    with pytest.raises(ValueError, match=r"some of \('pad', 'begin', 'end'\)"):
        ByteTokenizer(("unknown",))
    with pytest.raises(ValueError, match="must hold 'unknown'"):
        WordTokenizer(("a",), ("pad",))
    with pytest.raises(ValueError, match="split must be 'spaces' or 'punctuation', got 'words'"):
        WordTokenizer(("a",), split="words")
    with pytest.raises(ValueError, match="got 'b' twice"):
        WordTokenizer(("a", "b", "b"))
    with pytest.raises(ValueError, match="minimum_count must be an integer of at least 1, got 0"):
        WordTokenizer.of(["a"], minimum_count=0)
    with pytest.raises(ValueError, match="size must be an integer of at least 260, got 100"):
        SubwordTokenizer.of(["a"], size=100)
    for function in (lambda: SubwordTokenizer.of("abc", size=300), lambda: encode_all(SUBWORDS, "abc")):
        with pytest.raises(TypeError, match="expected many texts, got one"):
            function()


def test_texts_that_are_none_are_errors():
    with pytest.raises(ValueError, match=r"texts\[1\]: .*surrogates not allowed"):
        encode_all(ByteTokenizer(), ["ok", "a\ud800"])
    with pytest.raises(TypeError, match=r"WordTokenizer.of: expected many texts, got one; write \[text\]"):
        WordTokenizer.of("A dog runs")
    with pytest.raises(ValueError, match=r"until_end: ids must be \[length\], got \[2, 3\]"):
        until_end(np.array([[5, 6, 3], [7, 3, 1]]), 3)
