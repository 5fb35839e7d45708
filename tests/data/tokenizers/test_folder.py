"""Tokenizers in the folder of a model."""

import contextlib
import json
import sys

import jax
import numpy as np
import pytest

from jaxnets import models
from jaxnets.data import (
    ByteTokenizer,
    SubwordTokenizer,
    Tokenizer,
    Vocabulary,
    WordTokenizer,
    load_tokenizer,
    save_tokenizer,
)
from jaxnets.weights import load_model, save_model

TOKENIZERS = [
    Vocabulary('a\n"é東\ud800', ("pad", "end")),
    ByteTokenizer(("begin",)),
    WordTokenizer.of(["Ein schöner Tag", "ein Tag"], lowercase=True, split="spaces"),
    SubwordTokenizer.of(["Ein schöner Tag", "ein Tag"] * 4, size=280),
]


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_what_is_saved_is_loaded(tmp_path, tokenizer):
    save_tokenizer(tmp_path / "model", tokenizer)
    again = load_tokenizer(tmp_path / "model")
    assert again == tokenizer
    assert (again.size, again.special) == (tokenizer.size, tokenizer.special)
    for text in ("", "aé", "東a\n"):
        np.testing.assert_array_equal(again.encode(text), tokenizer.encode(text))
    assert again.decode(np.arange(again.size)) == tokenizer.decode(np.arange(again.size))


def test_the_file_of_subwords_is_read_by_the_tokenizers_library(tmp_path):
    import tokenizers

    save_tokenizer(tmp_path, TOKENIZERS[3])
    content = json.loads((tmp_path / "tokenizer.json").read_text())
    theirs = tokenizers.Tokenizer.from_str(json.dumps(content["model"]))
    text = "ein schöner Tag, Ein!"
    np.testing.assert_array_equal(np.array(theirs.encode(text).ids) + 3, load_tokenizer(tmp_path).encode(text))


def test_beside_a_model(tmp_path):
    model = models.mlp(models.MLPConfig((2, 3)))
    params, state = model.init(jax.random.key(0))
    save_tokenizer(tmp_path, TOKENIZERS[0])
    save_model(tmp_path, model, params, state)
    save_tokenizer(tmp_path, TOKENIZERS[2])
    assert load_tokenizer(tmp_path) == TOKENIZERS[2]
    assert load_model(tmp_path)[0].config == model.config
    assert len(list(tmp_path.iterdir())) == 3


def test_errors(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no tokenizer in .*tokenizer.json is missing"):
        load_tokenizer(tmp_path)

    class Mine(Tokenizer):
        special_names, tokens = (), 0
        to_json = _encode = _decode = None

    with pytest.raises(TypeError, match=r"expected one of Vocabulary, .*, got Mine"):
        save_tokenizer(tmp_path, Mine())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer": "Words"}, "the tokenizer must be one of .*, got 'Words'"),
        ({"tokenizer": ["Vocabulary"]}, "got \\['Vocabulary'\\]"),
        ({"words": None}, "is damaged: 'words' must be a list of str, got NoneType"),
        ({"words": ["a", 3]}, "'words' must be a list of str"),
        ({"words": ["a", "a"]}, "'a' twice"),
        ({"lowercase": "yes"}, "'lowercase' must be a bool, got str"),
        ({"special_names": ["pad", "mask"]}, "in this order"),
        ({"tokenizer": "SubwordTokenizer", "model": {}}, "is damaged"),
        (
            {"tokenizer": "SubwordTokenizer", "special_names": [], "model": {"model": {"type": "BPE", "vocab": 3}}},
            "model is not the JSON of a tokenizer",
        ),
    ],
)
def test_damaged_files(tmp_path, change, message):
    save_tokenizer(tmp_path, TOKENIZERS[2])
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=f"tokenizer.json.*{message}"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_cut_and_changed_files_are_value_errors(tmp_path, tokenizer):
    save_tokenizer(tmp_path, tokenizer)
    path = tmp_path / "tokenizer.json"
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(content)
        for position in generator.integers(0, len(content), 3):
            damaged[position] = generator.integers(0, 256)
        path.write_bytes(bytes(damaged[: generator.integers(1, 2 * len(content))]))
        with contextlib.suppress(ValueError):
            load_tokenizer(tmp_path).encode("")


def test_without_the_tokenizers_library(tmp_path, monkeypatch):
    save_tokenizer(tmp_path, TOKENIZERS[3])
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    for function in (lambda: SubwordTokenizer.of(["a"], size=300), lambda: load_tokenizer(tmp_path)):
        with pytest.raises(ImportError, match=r"needs the package tokenizers: pip install 'jaxnets\[text\]'"):
            function()
