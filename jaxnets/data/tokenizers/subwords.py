"""Subwords as tokens, by the `tokenizers` library."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from jaxnets.data.tokenizers.characters import WITHOUT_UNKNOWN
from jaxnets.data.tokenizers.tokenizer import Tokenizer, check_special, from_json
from jaxnets.extras import needed_for
from jaxnets.integers import as_integer

_BYTES = 256


@dataclasses.dataclass(frozen=True)
class SubwordTokenizer(Tokenizer):
    """Byte-pair encoding: frequent sequences of bytes as tokens, so frequent words are one token and rare ones several.

    It begins with the 256 bytes and joins the most frequent pair of tokens within words, again and again, until there
    are `size` tokens. Every text can be encoded, and decodes to itself.

    Attributes:
        model: the tokenizer as the JSON of the `tokenizers` library.
        special_names: which of `"pad"`, `"begin"`, `"end"` there are, in this order.

    Example:
        >>> tokenizer = SubwordTokenizer.of(["low lower newest widest"] * 5, size=265)
        >>> ids = tokenizer.encode("lowest")
        >>> [tokenizer.decode([i]) for i in ids], tokenizer.decode(ids), tokenizer.size
        (['low', 'est'], 'lowest', 265)

    Reference:
        Sennrich et al., Neural machine translation of rare words with subword units, 2016; Radford et al., Language
        models are unsupervised multitask learners, 2019 (on bytes).
    """

    model: str
    special_names: tuple[str, ...] = WITHOUT_UNKNOWN

    def __post_init__(self) -> None:
        check_special(self.special_names, allowed=WITHOUT_UNKNOWN)
        _ = self._tokenizer

    @classmethod
    def of(
        cls, texts: Iterable[str], *, size: int, minimum_count: int = 2, special_names: Sequence[str] = WITHOUT_UNKNOWN
    ) -> SubwordTokenizer:
        """Learn the subwords of texts.

        Args:
            texts: what to learn from; several languages may share one tokenizer.
            size: how many numbers there are to be, special tokens included; fewer if the texts have fewer pairs.
            minimum_count: how often a pair must occur to be joined.
            special_names: which special tokens there are to be.

        Raises:
            ImportError: if `tokenizers` is not installed.
            ValueError: if `size` does not exceed 256 bytes and the special tokens.
            TypeError: if `texts` is one text.
        """
        library = _library()
        if isinstance(texts, str):
            raise TypeError("SubwordTokenizer.of: expected many texts, got one; write [text] or text.splitlines()")
        size = as_integer("SubwordTokenizer.of", "size", size, at_least=_BYTES + len(special_names) + 1)
        least = as_integer("SubwordTokenizer.of", "minimum_count", minimum_count, at_least=1)
        tokenizer = library.Tokenizer(library.models.BPE())
        tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = library.decoders.ByteLevel()
        trainer = library.trainers.BpeTrainer(
            vocab_size=size - len(special_names),
            min_frequency=least,
            show_progress=False,
            initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        )
        tokenizer.train_from_iterator(texts, trainer)
        model = json.dumps(json.loads(tokenizer.to_str()))  # as it comes back from a file
        return cls(model, tuple(special_names))

    @cached_property
    def _tokenizer(self) -> Any:
        library = _library()
        try:
            return library.Tokenizer.from_str(self.model)
        except Exception as error:  # the library raises nothing more specific
            raise ValueError(f"SubwordTokenizer: model is not the JSON of a tokenizer: {error}") from error

    @property
    def tokens(self) -> int:
        """How many subwords there are, bytes included."""
        return int(self._tokenizer.get_vocab_size())

    def _encode(self, text: str) -> list[int]:
        first = len(self.special_names)
        return [i + first for i in self._tokenizer.encode(text).ids]

    def _decode(self, ids: list[int]) -> str:
        first = len(self.special_names)
        return str(self._tokenizer.decode([i - first for i in ids if i >= first]))

    def to_json(self) -> dict[str, Any]:
        """Return the arguments that make this tokenizer again."""
        return {"model": json.loads(self.model), "special_names": list(self.special_names)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> SubwordTokenizer:
        """Make what `to_json` described."""
        model = json.dumps(from_json(content, "model", dict))
        return cls(model, from_json(content, "special_names", str, many=True))


def _library() -> Any:
    with needed_for("SubwordTokenizer"):
        import tokenizers
    return tokenizers
