"""Metrics of sequences: tokens that are all right, and texts compared with references."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnets.extras import needed_for
from jaxnets.labels import labels_array, same_integers
from jaxnets.metrics.means import Mean, mean
from jaxnets.types import Array, ArrayLike


def exact_match(
    predictions: ArrayLike, labels: ArrayLike, mask: ArrayLike | None = None, *, weights: ArrayLike | None = None
) -> Mean:
    """Share of sequences whose tokens are all right.

    The share of single tokens is `accuracy(logits, labels, weights=mask)`.

    Args:
        predictions: integers `[batch, time]`, such as `jnp.argmax(logits, axis=-1)`.
        labels: integers `[batch, time]`.
        mask: booleans `[batch, time]`, True for the tokens that count, as `jaxnets.nn.sequence_mask` gives; by
            default all.
        weights: `[batch]`, of the sequences.

    Returns:
        A streamable `Mean`. A sequence without tokens is right.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if predictions or labels are not integers.

    Example:
        >>> predictions, labels = jnp.array([[1, 2, 3], [1, 2, 3]]), jnp.array([[1, 2, 4], [1, 2, 4]])
        >>> mask = jnp.array([[True, True, False], [True, True, True]])
        >>> exact_match(predictions, labels, mask).compute()
        Array(0.5, dtype=float32)
    """
    found = labels_array("exact_match", "predictions", predictions)
    expected = labels_array("exact_match", "labels", labels)
    counts = jnp.ones(found.shape, bool) if mask is None else jnp.asarray(mask).astype(bool)
    if found.ndim != 2 or not found.shape == expected.shape == counts.shape:
        raise ValueError(
            "exact_match: predictions, labels and mask must all be [batch, time], got "
            f"{list(found.shape)}, {list(expected.shape)} and {list(counts.shape)}"
        )
    for name, array in (("predictions", found), ("labels", expected)):
        if not jnp.issubdtype(array.dtype, jnp.integer):
            raise TypeError(
                f"exact_match: {name} must be integers, got {array.dtype}; of logits write jnp.argmax(logits, axis=-1)"
            )
    return mean(jnp.all(same_integers(found, expected) | ~counts, axis=1), weights=weights)


def edit_distance(first: Sequence[Hashable] | Array, second: Sequence[Hashable] | Array) -> int:
    """Levenshtein distance: the least number of insertions, deletions and substitutions that make one of the other.

    Args:
        first: a text, of which characters are compared, or a sequence of words or numbers, such as ids `[length]`.
        second: the other one.

    Example:
        >>> edit_distance("kitten", "sitting"), edit_distance("a b c".split(), "a c d".split())
        (3, 2)

    Reference:
        Levenshtein, Binary codes capable of correcting deletions, insertions and reversals, 1966; Wagner and Fischer,
        The string-to-string correction problem, 1974.
    """
    numbers: dict[Hashable, int] = {}
    rows, columns = (
        np.array([numbers.setdefault(item, len(numbers)) for item in _items(items)], int) for items in (first, second)
    )
    steps = np.arange(len(columns) + 1)
    distances = steps
    for number, item in enumerate(rows, 1):
        changed = np.minimum(distances[1:] + 1, distances[:-1] + (columns != item))
        # An insertion is a step to the right: the least over all columns before of the distance there plus the steps.
        distances = np.minimum.accumulate(np.concatenate([[number], changed]) - steps) + steps
    return int(distances[-1])


def _items(sequence: Sequence[Hashable] | Array) -> Sequence[Hashable]:
    """The entries of a sequence; those of an array as numbers, which can be looked up."""
    if hasattr(sequence, "tolist"):
        sequence = sequence.tolist()
    return sequence


def word_error_rate(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Word error rate: the edit distances of the words of all texts, divided by the number of words of the references.

    Args:
        predictions: the texts of a model. Words are what is between white space; capitals and punctuation count.
        references: the right texts, as many.

    Returns:
        A share, 0 if all is right; it may exceed 1.

    Raises:
        ValueError: if there are more of one than of the other, or no words in the references.
        TypeError: if a single text is given.

    Example:
        >>> word_error_rate(["the cat sat", "hello"], ["the cat sat down", "hello"])
        0.2
    """
    return _error_rate("word_error_rate", predictions, references, str.split)


def character_error_rate(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Character error rate: as `word_error_rate`, of characters; spaces are characters.

    Args:
        predictions: the texts of a model.
        references: the right texts, as many.

    Returns:
        A share, 0 if all is right; it may exceed 1.

    Raises:
        ValueError: if there are more of one than of the other, or no characters in the references.
        TypeError: if a single text is given.

    Example:
        >>> character_error_rate(["abd"], ["abcd"])
        0.25
    """
    return _error_rate("character_error_rate", predictions, references, list)


def _error_rate(function: str, predictions: Sequence[str], references: Sequence[str], split: Any) -> float:
    _check_texts(function, predictions, references)
    pairs = [
        (split(prediction), split(reference)) for prediction, reference in zip(predictions, references, strict=True)
    ]
    total = sum(len(reference) for _, reference in pairs)
    if total == 0:
        raise ValueError(f"{function}: the references are empty, so there is nothing to divide by")
    return sum(edit_distance(prediction, reference) for prediction, reference in pairs) / total


def bleu(
    predictions: Sequence[str],
    references: Sequence[str] | Sequence[Sequence[str]],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> float:
    """BLEU of a corpus, in percent, as sacrebleu computes it: how many n-grams of 1 to 4 words references have too.

    100 times the geometric mean of the four shares, times exp(1 - r/c) if the c words of all predictions are fewer than
    the r of the references.

    Args:
        predictions: the texts of a model, not tokenized.
        references: the right texts, as many; or several lists of them, each with one reference for every prediction.
        tokenize: how texts are divided into words, a name of sacrebleu's: `"13a"` as is usual, `"none"` for texts that
            are tokenized already, `"intl"`, `"char"`, `"zh"`, ...
        lowercase: whether capitals are ignored.

    Raises:
        ValueError: if there are more of one than of the other, or sacrebleu has no such `tokenize`.
        TypeError: if a single text is given, or something else than texts.
        ImportError: if sacrebleu is not installed.

    Example:
        >>> print(f"{bleu(['the cat sat on a mat'], ['the cat sat on the mat']):.2f}")
        53.73

    Reference:
        Papineni et al., BLEU: a method for automatic evaluation of machine translation, 2002; Post, A call for clarity
        in reporting BLEU scores, 2018.

    Warning:
        The number depends by many points on `tokenize` and `lowercase`; state both.
    """
    with needed_for("metrics.bleu"):
        import sacrebleu
    several = bool(len(references)) and not isinstance(references[0], str)
    lists: Any = list(references) if several else [references]
    for reference in lists:
        _check_texts("bleu", predictions, reference)
    if tokenize not in sacrebleu.BLEU.TOKENIZERS:
        raise ValueError(f"bleu: tokenize must be one of {', '.join(sacrebleu.BLEU.TOKENIZERS)}, got {tokenize!r}")
    tokenized = tokenize == "none"  # then it is not a mistake that punctuation stands alone, of which sacrebleu warns
    result = sacrebleu.corpus_bleu(list(predictions), lists, tokenize=tokenize, lowercase=lowercase, force=tokenized)
    return float(result.score)


def _check_texts(function: str, predictions: Sequence[str], references: Sequence[str]) -> None:
    if isinstance(predictions, str) or isinstance(references, str):
        raise TypeError(f"{function}: expected lists of texts, got one text; write [text]")
    for text in (*predictions, *references):
        if not isinstance(text, str):
            raise TypeError(f"{function}: expected lists of texts, got {text!r} in one; decode ids first")
    if len(predictions) != len(references) or not len(predictions):
        raise ValueError(
            f"{function}: expected one reference for every prediction and at least one, got {len(predictions)} "
            f"predictions and {len(references)} references"
        )
