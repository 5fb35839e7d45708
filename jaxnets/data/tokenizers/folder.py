"""A tokenizer in the folder of the model that was trained with it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jaxnets
from jaxnets.data.tokenizers.characters import ByteTokenizer, Vocabulary
from jaxnets.data.tokenizers.subwords import SubwordTokenizer
from jaxnets.data.tokenizers.tokenizer import Tokenizer
from jaxnets.data.tokenizers.words import WordTokenizer
from jaxnets.report.strict_json import read_object, write_atomically

FILE = "tokenizer.json"
KINDS: dict[str, Callable[[Mapping[str, Any]], Tokenizer]] = {
    kind.__name__: kind.from_json for kind in (Vocabulary, ByteTokenizer, WordTokenizer, SubwordTokenizer)
}
"""What makes a tokenizer again, by the name of its class."""


def save_tokenizer(folder: str | os.PathLike[str], tokenizer: Tokenizer) -> None:
    """Write a tokenizer into a folder as `tokenizer.json`, beside the model of `jaxnets.weights.save_model`.

    Args:
        folder: where to; it is made if it is not there.
        tokenizer: one of this library.

    Raises:
        TypeError: if it is something else.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_tokenizer(folder, Vocabulary("abc"))
        ...     load_tokenizer(folder)
        Vocabulary(characters='abc', special_names=())
    """
    kind = type(tokenizer).__name__
    if kind not in KINDS:
        raise TypeError(f"save_tokenizer: expected one of {', '.join(KINDS)}, got {kind}")
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    content = {"jaxnets": jaxnets.__version__, "tokenizer": kind, **tokenizer.to_json()}
    write_atomically(folder / FILE, json.dumps(content, indent=1) + "\n")


def load_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """Read what `save_tokenizer` wrote.

    Args:
        folder: that of `save_tokenizer`, where an example is.

    Raises:
        FileNotFoundError: if there is no tokenizer in the folder.
        ValueError: if the file is damaged.
        ImportError: if it is a `SubwordTokenizer` and the package `tokenizers` is not installed.
    """
    path = Path(folder).expanduser() / FILE
    if not path.is_file():
        raise FileNotFoundError(f"there is no tokenizer in {path.parent}: {FILE} is missing; save_tokenizer writes one")
    content = read_object(path)
    kind = content.get("tokenizer")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"{path}: the tokenizer must be one of {', '.join(KINDS)}, got {kind!r}")
    try:
        return KINDS[kind](content)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
