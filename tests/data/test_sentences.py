import importlib

import numpy as np
import pytest
from sklearn.model_selection import KFold

from jaxnets.data import Sentences, cross_validation, parse_sentences, sentences
from jaxnets.data.sentences import parse_tree
from jaxnets.data.text_lines import text_lines
from tests.data.packed import sized, write_archive

module = importlib.import_module("jaxnets.data.sentences")

MR = "1 a film full of clichés \x85 and more . \n0 bad .\n".encode("latin-1")
TREC_TRAIN, TREC_TEST = "0 What is a façade ?\n5 How many ?\n".encode("latin-1"), b"4 Where ?\n"
SST2 = ["1 a gem\n0 crème brûlée\n".encode(), b"0 no\n", b"1 yes\n0 no no\n"]
TREES = b"(4 (2 A) (4 (4 fine) (3 gem)))\n(1 (2 A) (1 (0 bad) (2 \\/)))\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    contents = {"mr": [MR], "trec": [TREC_TRAIN, TREC_TEST], "sst2": SST2, "sst5": SST2}
    files = {
        name: tuple(f._replace(file=sized(f.file, c)) for f, c in zip(module.FILES[name], parts, strict=True))
        for name, parts in contents.items()
    }
    monkeypatch.setattr(module, "FILES", module.FILES | files)
    monkeypatch.setattr(module, "TREES", sized(module.TREES, TREES))
    return tmp_path


def all_contents():
    return {
        "rt-polarity.all": MR,
        "TREC.train.all": TREC_TRAIN,
        "TREC.test.all": TREC_TEST,
        **dict(zip(("stsa.binary.train", "stsa.binary.dev", "stsa.binary.test"), SST2, strict=True)),
        "sst-trees-train.txt": TREES,
    }


@pytest.fixture(params=["files", "archive"])
def packed(request, folder):
    if request.param == "archive":
        write_archive(folder / "text" / "sentences.tar.xz", {"readme": b"", **all_contents()})
        return
    (folder / "text").mkdir()
    for name, content in all_contents().items():
        (folder / "text" / name).write_bytes(content)


@pytest.mark.usefixtures("packed")
def test_sets():
    film = sentences("mr")
    assert film.train.texts == ["a film full of clichés \x85 and more .", "bad ."]
    assert film.train.labels.tolist() == [1, 0]
    assert (film.validation.texts, film.test.texts, film.classes) == ([], [], ("negative", "positive"))
    questions = sentences("trec")
    assert questions.train.texts == ["What is a façade ?", "How many ?"]
    assert [questions.classes[i] for i in questions.test.labels] == ["location"]
    assert questions.validation.texts == []
    sst = sentences("sst2")
    assert [part.texts for part in sst[:3]] == [["a gem", "crème brûlée"], ["no"], ["yes", "no no"]]


@pytest.mark.usefixtures("packed")
def test_phrases():
    """By hand; `a` is in both trees, and neutral."""
    phrases = sentences("sst2", phrases=True)
    assert dict(zip(phrases.train.texts, phrases.train.labels.tolist(), strict=True)) == {
        "fine": 1,
        "gem": 1,
        "fine gem": 1,
        "a fine gem": 1,
        "bad": 0,
        "bad \\/": 0,
        "a bad \\/": 0,
    }
    assert phrases.test.texts == ["yes", "no no"]
    assert phrases.train.labels.dtype == np.int32


def test_damaged_archives(folder):
    path = folder / "text" / "sentences.tar.xz"
    write_archive(path, {"rt-polarity.all": MR[:-1] + b"x"})
    with pytest.raises(ValueError, match=r"sentences.tar.xz: rt-polarity.all has SHA-256 .* was expected"):
        sentences("mr")
    write_archive(path, {"subj.all": MR})
    with pytest.raises(ValueError, match=r"sentences.tar.xz has no rt-polarity.all of"):
        sentences("mr")
    write_archive(path, {"rt-polarity.all": MR})
    path.write_bytes(path.read_bytes()[:90])
    with pytest.raises(ValueError, match="is not a complete"):
        sentences("mr")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"(?s)missing in .*text/rt-polarity.all"):
        sentences("mr")
    (folder / "text" / "stsa.binary.train").write_bytes(SST2[0])
    (folder / "text" / "stsa.binary.dev").write_bytes(SST2[1])
    (folder / "text" / "stsa.binary.test").write_bytes(SST2[2])
    with pytest.raises(FileNotFoundError, match=r"(?s)no mirror is known that has sst-trees-train.txt") as caught:
        sentences("sst2", phrases=True)
    assert "github.com/munikarmanish/RNTN" in str(caught.value.__notes__)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 good\n\n0 bad\n", "films.txt, line 2 is empty"),
        (b"1 good\n0 caf\xe9\n", "films.txt, line 2: the text is not UTF-8"),
        (b"1 good\n2 bad\n", "films.txt, line 2: expected a class from 0 to 1, .* got '2 bad'"),
        (b"good\n", "films.txt, line 1: expected a class"),
        ("٣ good\n".encode(), "films.txt, line 1: expected a class"),
    ],
)
def test_bad_lines(content, message):
    with pytest.raises(ValueError, match=message):
        parse_sentences(content, "films.txt", classes=2)


def test_bad_trees():
    for line in ("", "(3 a", "(3 a))", "(3 (2 ) (2 b))", "3 a", "(5 a)", "(2 a) (2 b)", "(2 a) b", "((2 a))"):
        with pytest.raises(ValueError, match="trees, line 1"):
            parse_tree(line, "trees, line 1")


def test_lines_end_at_line_feeds_only():
    text = "a\x85b\u2028c\x0bd"
    assert text_lines((text + "\r\nend").encode(), "file") == [text, "end"]
    assert text_lines(b"", "file") == []


def test_arguments():
    with pytest.raises(ValueError, match="one of mr, subj, cr, mpqa, trec, sst2, sst5, got 'imdb'"):
        sentences("imdb")
    with pytest.raises(ValueError, match="only 'sst2' and 'sst5' have phrases, got 'mr'"):
        sentences("mr", phrases=True)


@pytest.mark.parametrize(("count", "folds"), [(10, 10), (103, 10), (7, 2)])
def test_folds_are_as_those_of_sklearn(count, folds):
    """Sizes as scikit-learn's, every sentence held out once, and the rest the others."""
    part = Sentences([str(i) for i in range(count)], np.arange(count, dtype=np.int32))
    held_out = [cross_validation(part, fold, folds=folds, seed=3) for fold in range(folds)]
    sizes = sorted(len(test) for _, test in KFold(folds).split(part.labels))
    assert sorted(len(test.texts) for _, test in held_out) == sizes
    assert sorted(np.concatenate([test.labels for _, test in held_out]).tolist()) == list(range(count))
    for rest, test in held_out:
        assert sorted([*rest.labels, *test.labels]) == list(range(count))
        assert [int(text) for text in rest.texts + test.texts] == [*rest.labels, *test.labels]
    again, other = (cross_validation(part, 0, folds=folds, seed=seed)[1].texts for seed in (3, 4))
    assert again == held_out[0][1].texts
    assert other != again


def test_fold_errors():
    part = Sentences(["a", "b"], np.array([0, 1], np.int32))
    with pytest.raises(ValueError, match="a fold from 0 to 1 and at least 2 sentences, got fold 2 and 2"):
        cross_validation(part, 2, folds=2)
    with pytest.raises(ValueError, match="folds must be an integer of at least 2, got 1"):
        cross_validation(part, 0, folds=1)
