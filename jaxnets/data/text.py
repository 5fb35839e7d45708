"""Text by character, to train language models."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxnets.data.files import load_files, plain_file
from jaxnets.data.tokenizers.characters import Vocabulary

SHAKESPEARE = plain_file(
    "text/tinyshakespeare.txt",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
    size=1_115_394,
    sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
)
NAMES = plain_file(
    "text/names.txt",
    "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt",
    size=228_145,
    sha256="0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d",
)


class CharacterText(NamedTuple):
    """A text by character.

    Attributes:
        train: numbers of the characters, int32 `[length]`.
        validation: those of the end of the text.
        vocabulary: for `encode` and `decode`.
    """

    train: np.ndarray
    validation: np.ndarray
    vocabulary: Vocabulary


def characters(text: str, *, validation: float = 0.1) -> CharacterText:
    """Number the characters of a text and hold out its end for validation.

    Args:
        text: the text.
        validation: share of the text, in [0, 1).

    Raises:
        ValueError: if the text is empty or the share is out of range.

    Example:
        >>> text = characters("hello world", validation=0.2)
        >>> text.vocabulary.characters, text.vocabulary.decode(text.validation)
        (' dehlorw', 'ld')
        >>> text.vocabulary.encode("hole")
        array([3, 5, 4, 2], dtype=int32)
    """
    if not text:
        raise ValueError("characters: the text is empty")
    if not 0 <= validation < 1:
        raise ValueError(f"characters: the share for validation must be in [0, 1), got {validation}")
    vocabulary = Vocabulary("".join(sorted(set(text))))
    codes = vocabulary.encode(text)
    end = len(codes) - round(len(codes) * validation)
    if end == 0:
        raise ValueError(
            f"characters: a share of {validation} of {len(codes)} characters leaves none; take a smaller one"
        )
    return CharacterText(codes[:end], codes[end:], vocabulary)


def text_windows(codes: np.ndarray, length: int) -> np.ndarray:
    """Divide a text into examples of `length` characters and the next one.

    In an example, `[:-1]` are the inputs and `[1:]` the targets, so every character except the first is a target once.
    Characters at the end that do not fill an example are omitted.

    Args:
        codes: `[characters]`.
        length: of the inputs.

    Returns:
        `[examples, length + 1]`, for `jaxnets.training.fit`.

    Raises:
        ValueError: if the text is too short for one example.

    Example:
        >>> text_windows(np.arange(6), 2)
        array([[0, 1, 2],
               [2, 3, 4]])
    """
    return text_streams(codes, 1, length)


def text_streams(codes: np.ndarray, streams: int, length: int) -> np.ndarray:
    """Divide a text into batches for a recurrent network that keeps its state from one batch to the next.

    The text is divided into `streams` pieces of equal length that are read in parallel: row j of every batch continues
    row j of the batch before.

    Args:
        codes: `[characters]`.
        streams: the number of pieces, which is the batch size.
        length: of the inputs.

    Returns:
        `[batches * streams, length + 1]`; `fit(..., batch_size=streams, shuffle=False)` takes the batches in order.

    Raises:
        ValueError: if the text is too short for one batch.

    Example:
        >>> text_streams(np.arange(9), streams=2, length=2)
        array([[0, 1, 2],
               [4, 5, 6],
               [2, 3, 4],
               [6, 7, 8]])

    Reference:
        Mikolov et al., Recurrent neural network based language model, 2010 (truncated backpropagation through time).
    """
    if codes.ndim != 1 or streams < 1 or length < 1:
        raise ValueError(
            f"expected codes [characters], streams and length >= 1, got {codes.shape}, {streams}, {length}"
        )
    batches = (len(codes) - 1) // (streams * length)
    if batches < 1:
        raise ValueError(
            f"{len(codes)} characters are too few for {streams} x {length} and the next one; use shorter or "
            "fewer pieces"
        )
    starts = np.arange(batches)[:, None] * length + np.arange(streams)[None] * (batches * length)
    windows: np.ndarray = codes[starts.reshape(-1, 1) + np.arange(length + 1)[None]]
    return windows


def tiny_shakespeare(*, validation: float = 0.1) -> CharacterText:
    """Load 1,115,394 characters of Shakespeare's plays, 65 of them distinct.

    The file is `text/tinyshakespeare.txt` in `data_folder()`; if missing, it is downloaded there (1.1 MB).

    Args:
        validation: share held out at the end of the text, in [0, 1).

    Raises:
        FileNotFoundError: if the file is missing and cannot be downloaded.
        ValueError: if the file is damaged, or the share is out of range.

    Example:
        `text_windows(tiny_shakespeare().train, 128)` is `[7842, 129]`.

    Reference:
        Karpathy, The unreasonable effectiveness of recurrent neural networks, 2015.
    """
    return characters(load_files([SHAKESPEARE])[0].decode("ascii"), validation=validation)


def names(seed: int = 0, *, validation: float = 0.1) -> CharacterText:
    r"""Load 32,033 first names in random order as one text, a line break after each; 27 characters.

    The file is `text/names.txt` in `data_folder()`; if missing, it is downloaded there (228 KB). The file is sorted by
    frequency, hence the random order.

    Args:
        seed: of the order.
        validation: share held out at the end of the text, in [0, 1).

    Raises:
        FileNotFoundError: if the file is missing and cannot be downloaded.
        ValueError: if the file is damaged, or the share is out of range.

    Example:
        `names().vocabulary.characters[:3]` is `"\nab"`.

    Reference:
        Karpathy, makemore, 2022; names of children in the USA (ssa.gov), 2018.
    """
    lines = load_files([NAMES])[0].decode("ascii").split()
    order = np.random.default_rng(seed).permutation(len(lines))
    return characters("".join(lines[i] + "\n" for i in order), validation=validation)
