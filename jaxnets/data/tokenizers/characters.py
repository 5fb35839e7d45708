"""Characters and bytes as tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from jaxnets.data.tokenizers.tokenizer import SPECIAL, Tokenizer, check_special, from_json

WITHOUT_UNKNOWN = tuple(name for name in SPECIAL if name != "unknown")


@dataclasses.dataclass(frozen=True)
class Vocabulary(Tokenizer):
    """Characters as tokens, numbered as they are listed, after the special tokens.

    A character that is not among them is a ValueError, unless `"unknown"` is among the special tokens.

    Attributes:
        characters: distinct characters; those of `Vocabulary.of` and `jaxnets.data.characters` are sorted by their
            code points.
        special_names: which of `"pad"`, `"unknown"`, `"begin"`, `"end"` there are, in this order.

    Example:
        >>> Vocabulary("abc").encode("cab")
        array([2, 0, 1], dtype=int32)
        >>> tokenizer = Vocabulary.of(["cab", "bad"], special_names=("pad", "end"))
        >>> tokenizer.characters, tokenizer.size, tokenizer.special, tokenizer.decode([5, 2, 3, 1, 0, 0])
        ('abcd', 6, {'pad': 0, 'end': 1}, 'dab')
    """

    characters: str
    special_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_special(self.special_names)
        if len(self._numbers) != len(self.characters):
            raise ValueError(f"Vocabulary: characters must be distinct, got {self.characters!r}")

    @classmethod
    def of(cls, texts: Iterable[str], *, special_names: Sequence[str] = ()) -> Vocabulary:
        """Take the characters of texts, sorted by their code points."""
        return cls("".join(sorted(set().union(*texts))), tuple(special_names))

    @property
    def tokens(self) -> int:
        """How many characters there are."""
        return len(self.characters)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {character: i for i, character in enumerate(self.characters, len(self.special_names))}

    def _encode(self, text: str) -> list[int]:
        if "unknown" in self.special:
            return [self._numbers.get(character, self.special["unknown"]) for character in text]
        try:
            return [self._numbers[character] for character in text]
        except KeyError as error:
            unknown = error.args[0]
            raise ValueError(
                f"character {unknown!r} at position {text.index(unknown)} is not among the {len(self.characters)} of "
                f"this vocabulary, {self.characters!r}"
            ) from None

    def _decode(self, ids: list[int]) -> str:
        first, unknown = len(self.special_names), self.special.get("unknown")
        return "".join(
            self.characters[i - first] if i >= first else "\N{REPLACEMENT CHARACTER}"
            for i in ids
            if i >= first or i == unknown
        )

    def to_json(self) -> dict[str, Any]:
        """Return the arguments that make this vocabulary again."""
        return {"characters": self.characters, "special_names": list(self.special_names)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Vocabulary:
        """Make what `to_json` described."""
        return cls(from_json(content, "characters", str), from_json(content, "special_names", str, many=True))


@dataclasses.dataclass(frozen=True)
class ByteTokenizer(Tokenizer):
    """The bytes of UTF-8 as tokens: 256 of them and the special tokens; every text can be encoded.

    Bytes that are not UTF-8, such as half a character that a model generated, are decoded as U+FFFD.

    Attributes:
        special_names: which of `"pad"`, `"begin"`, `"end"` there are, in this order.

    Example:
        >>> ByteTokenizer().encode("né")
        array([110, 195, 169], dtype=int32)
        >>> tokenizer = ByteTokenizer(("pad", "end"))
        >>> tokenizer.size, tokenizer.decode(tokenizer.encode("né"))
        (258, 'né')

    Reference:
        Xue et al., ByT5: towards a token-free future with pre-trained byte-to-byte models, 2022.
    """

    special_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_special(self.special_names, allowed=WITHOUT_UNKNOWN)

    @property
    def tokens(self) -> int:
        """256."""
        return 256

    def _encode(self, text: str) -> list[int]:
        return [byte + len(self.special_names) for byte in text.encode()]

    def _decode(self, ids: list[int]) -> str:
        first = len(self.special_names)
        return bytes(i - first for i in ids if i >= first).decode(errors="replace")

    def to_json(self) -> dict[str, Any]:
        """Return the arguments that make this tokenizer again."""
        return {"special_names": list(self.special_names)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ByteTokenizer:
        """Make what `to_json` described."""
        return cls(from_json(content, "special_names", str, many=True))
