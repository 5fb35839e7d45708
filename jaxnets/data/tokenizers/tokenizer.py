"""What all tokenizers share: numbers for the pieces of a text, special tokens before them, and JSON."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

SPECIAL = ("pad", "unknown", "begin", "end")
"""The special tokens that a tokenizer may have, in the order of their numbers."""

Item = TypeVar("Item")


class Tokenizer(abc.ABC):
    """Numbers for the tokens of a text: `encode`, `decode`, `size`, and `special`, the numbers of the special tokens.

    The special tokens come first: with all of them, `special` is `{"pad": 0, "unknown": 1, "begin": 2, "end": 3}`. No
    text is encoded as one of them, except by an unknown word. A tokenizer of your own defines `special_names`,
    `tokens`, `to_json`, `_encode` and `_decode`.

    Attributes:
        special_names: which of `"pad"`, `"unknown"`, `"begin"`, `"end"` there are, in this order.
    """

    special_names: tuple[str, ...]

    @property
    @abc.abstractmethod
    def tokens(self) -> int:
        """How many tokens there are besides the special ones."""

    @property
    def size(self) -> int:
        """How many numbers there are, the `vocabulary` of a model."""
        return len(self.special_names) + self.tokens

    @property
    def special(self) -> dict[str, int]:
        """The numbers of the special tokens by name."""
        return {name: number for number, name in enumerate(self.special_names)}

    def encode(self, text: str) -> np.ndarray:
        """Return the numbers of the tokens of a text, int32 `[length]`."""
        if not isinstance(text, str):
            raise TypeError(f"{type(self).__name__}.encode: expected a text, got {type(text).__name__}")
        return np.array(self._encode(text), np.int32)

    def decode(self, ids: np.ndarray) -> str:
        """Return the text of numbers `[length]`; pad, begin and end are left out.

        Raises:
            ValueError: if they are not integers `[length]` from 0 to `size - 1`.
        """
        return self._decode(_checked(ids, self.size))

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Return the arguments that make this tokenizer again, as numbers, strings and lists."""

    @abc.abstractmethod
    def _encode(self, text: str) -> Sequence[int]: ...

    @abc.abstractmethod
    def _decode(self, ids: list[int]) -> str: ...


def _checked(ids: Any, size: int) -> list[int]:
    array = np.asarray(ids)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.integer) or array.size == 0):
        raise ValueError(f"decode: expected integers [length], got {array.dtype} {list(array.shape)}")
    if array.size and (array.min() < 0 or array.max() >= size):
        raise ValueError(f"decode: numbers must be from 0 to {size - 1}, got {array.min()} to {array.max()}")
    numbers: list[int] = array.tolist()
    return numbers


def encode_all(
    tokenizer: Tokenizer, texts: Iterable[str], *, begin: bool = False, end: bool = False
) -> list[np.ndarray]:
    """Encode many texts, with the special tokens at their ends if wanted.

    Args:
        tokenizer: any.
        texts: the texts.
        begin: whether to put the number of `"begin"` before each.
        end: whether to put the number of `"end"` after each.

    Returns:
        A list of int32 `[length]`, one a text; see `jaxnets.data.pad_sequences` and `make_buckets`.

    Raises:
        ValueError: if a text cannot be encoded, with its position in `texts`, or the tokenizer has no such special
            token.
        TypeError: if `texts` is one text or holds something else.

    Example:
        >>> from jaxnets.data import Vocabulary
        >>> tokenizer = Vocabulary("abc", ("pad", "begin", "end"))
        >>> encode_all(tokenizer, ["cab", "b"], begin=True, end=True)
        [array([1, 5, 3, 4, 2], dtype=int32), array([1, 4, 2], dtype=int32)]
    """
    if isinstance(texts, str):
        raise TypeError("encode_all: expected many texts, got one; write [text]")
    first = [special_number(tokenizer, "begin")] if begin else []
    last = [special_number(tokenizer, "end")] if end else []
    encoded = []
    for position, text in enumerate(texts):
        try:
            ids = tokenizer.encode(text)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError  # UnicodeError takes other arguments
            raise kind(f"texts[{position}]: {error}") from error
        encoded.append(np.concatenate([np.array(first, np.int32), ids, np.array(last, np.int32)]))
    return encoded


def special_number(tokenizer: Tokenizer, name: str) -> int:
    """Return the number of a special token, or raise ValueError if the tokenizer has none of that name."""
    if name not in tokenizer.special:
        raise ValueError(
            f"this {type(tokenizer).__name__} has no token {name!r}, only {list(tokenizer.special_names)}; make it "
            f"with special_names={tuple(s for s in SPECIAL if s == name or s in tokenizer.special)}"
        )
    return tokenizer.special[name]


def until_end(ids: np.ndarray, end: int) -> np.ndarray:
    """Return what comes before the first `end`; all if there is none.

    Args:
        ids: `[length]`, such as what a model generated.
        end: the number of the token that ends a text, `tokenizer.special["end"]`.

    Raises:
        ValueError: if `ids` are those of several texts.

    Example:
        >>> until_end(np.array([5, 6, 3, 7]), end=3)
        array([5, 6])
    """
    ids = np.asarray(ids)
    if ids.ndim != 1:
        raise ValueError(f"until_end: ids must be [length], got {list(ids.shape)}; take one row at a time")
    ends = np.flatnonzero(ids == end)
    return ids[: ends[0]] if len(ends) else ids


def check_special(names: Sequence[str], *, allowed: Sequence[str] = SPECIAL) -> None:
    """Raise ValueError unless these are names of special tokens, in their order."""
    if isinstance(names, str) or list(names) != [name for name in allowed if name in names]:
        raise ValueError(f"special_names must be some of {tuple(allowed)}, in this order, got {names!r}")


def from_json(content: Mapping[str, Any], name: str, item: type[Item], *, many: bool = False) -> Any:
    """Return an entry of JSON of a tokenizer, or raise ValueError unless it is an `item`, or with `many` a list."""
    value = content.get(name)
    if many and isinstance(value, list) and all(isinstance(entry, item) for entry in value):
        return tuple(value)
    if not many and isinstance(value, item):
        return value
    expected = f"a list of {item.__name__}" if many else f"a {item.__name__}"
    raise ValueError(f"{name!r} must be {expected}, got {type(value).__name__}")
