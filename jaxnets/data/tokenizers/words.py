"""Words as tokens."""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from jaxnets.data.tokenizers.tokenizer import SPECIAL, Tokenizer, check_special, from_json
from jaxnets.integers import as_integer

_SPLITS = {"spaces": re.compile(r"\S+"), "punctuation": re.compile(r"\w+(?:['’-]\w+)*|[^\w\s]")}
"""What a word is."""


@dataclasses.dataclass(frozen=True)
class WordTokenizer(Tokenizer):
    """Words as tokens; those that are not among them have the number of `"unknown"`.

    `decode` joins words by spaces and writes an unknown one as `<unknown>`, so it gives the words of a text back and
    not its spaces.

    Attributes:
        words: distinct words; those of `WordTokenizer.of` are sorted by frequency, equally frequent ones by alphabet.
        special_names: which of `"pad"`, `"unknown"`, `"begin"`, `"end"` there are, in this order, `"unknown"` among
            them.
        lowercase: whether texts are put in lower case first.
        split: `"spaces"` for words between white space, as of a text that is tokenized already; `"punctuation"` for
            every punctuation mark as a word of its own: `Don't stop, A-level!` has `Don't`, `stop`, `,`, `A-level` and
            `!`.

    Example:
        >>> tokenizer = WordTokenizer.of(["A dog runs.", "A dog and a cat."], minimum_count=2, lowercase=True)
        >>> tokenizer.words, tokenizer.special
        (('a', '.', 'dog'), {'pad': 0, 'unknown': 1, 'begin': 2, 'end': 3})
        >>> ids = tokenizer.encode("A cat runs.")
        >>> ids, tokenizer.decode(ids)
        (array([4, 1, 1, 5], dtype=int32), 'a <unknown> <unknown> .')
    """

    words: tuple[str, ...]
    special_names: tuple[str, ...] = SPECIAL
    lowercase: bool = False
    split: str = "punctuation"

    def __post_init__(self) -> None:
        check_special(self.special_names)
        if "unknown" not in self.special_names:
            raise ValueError(f"WordTokenizer: special_names must hold 'unknown', got {self.special_names!r}")
        if self.split not in _SPLITS:
            raise ValueError(f"WordTokenizer: split must be 'spaces' or 'punctuation', got {self.split!r}")
        if len(self._numbers) != len(self.words):
            twice = next(word for word, count in collections.Counter(self.words).items() if count > 1)
            raise ValueError(f"WordTokenizer: words must be distinct, got {twice!r} twice")

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        *,
        minimum_count: int = 1,
        special_names: Sequence[str] = SPECIAL,
        lowercase: bool = False,
        split: str = "punctuation",
    ) -> WordTokenizer:
        """Take the words that texts have at least `minimum_count` times, the most frequent first."""
        if isinstance(texts, str):
            raise TypeError("WordTokenizer.of: expected many texts, got one; write [text]")
        least = as_integer("WordTokenizer.of", "minimum_count", minimum_count, at_least=1)
        empty = cls((), tuple(special_names), lowercase, split)
        counts = collections.Counter(word for text in texts for word in empty.words_of(text))
        kept = [word for word, count in counts.items() if count >= least]
        return dataclasses.replace(empty, words=tuple(sorted(kept, key=lambda word: (-counts[word], word))))

    @property
    def tokens(self) -> int:
        """How many words there are."""
        return len(self.words)

    def words_of(self, text: str) -> list[str]:
        """Return the words of a text, known or not.

        Example:
            >>> WordTokenizer((), lowercase=True).words_of("Don't stop, A-level!")
            ["don't", 'stop', ',', 'a-level', '!']
        """
        return _SPLITS[self.split].findall(text.lower() if self.lowercase else text)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words, len(self.special_names))}

    def _encode(self, text: str) -> list[int]:
        unknown = self.special["unknown"]
        return [self._numbers.get(word, unknown) for word in self.words_of(text)]

    def _decode(self, ids: list[int]) -> str:
        first, unknown = len(self.special_names), self.special["unknown"]
        return " ".join(self.words[i - first] if i >= first else "<unknown>" for i in ids if i >= first or i == unknown)

    def to_json(self) -> dict[str, Any]:
        """Return the arguments that make this tokenizer again."""
        return {
            "words": list(self.words),
            "special_names": list(self.special_names),
            "lowercase": self.lowercase,
            "split": self.split,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> WordTokenizer:
        """Make what `to_json` described."""
        return cls(
            from_json(content, "words", str, many=True),
            from_json(content, "special_names", str, many=True),
            from_json(content, "lowercase", bool),
            from_json(content, "split", str),
        )
