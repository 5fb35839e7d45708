import gzip
import importlib

import pytest

from jaxnets.data import multi30k
from tests.data.packed import sized, write_archive

module = importlib.import_module("jaxnets.data.multi30k")
LINES = {
    split: (
        f"Zwei Männer ({split}).\nEin Hund, \u2028 läuft.\n".encode(),
        f"Two men ({split}).\nA dog runs.\n".encode(),
    )
    for split in module.FILES
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    use(monkeypatch, LINES)
    return tmp_path / "multi30k"


def use(monkeypatch, lines):
    files = {
        split: tuple(sized(file, content) for file, content in zip(pair, lines[split], strict=True))
        for split, pair in module.FILES.items()
    }
    monkeypatch.setattr(module, "FILES", files)


def members(lines):
    names = {split: [file.path.split("/")[1].removesuffix(".gz") for file in module.FILES[split]] for split in lines}
    return {name: content for split in lines for name, content in zip(names[split], lines[split], strict=True)}


@pytest.mark.parametrize("form", ["archive", "gz", "plain"])
def test_splits(folder, form):
    folder.mkdir()
    if form == "archive":
        write_archive(folder / "multi30k-en-de.tar.xz", members(LINES))
    for name, content in members(LINES).items() if form != "archive" else ():
        path = folder / (f"{name}.gz" if form == "gz" else name)
        path.write_bytes(gzip.compress(content) if form == "gz" else content)
    data = multi30k()
    assert data._fields == ("train", "validation", "test_2016", "test_2017", "coco")
    for split, pairs in data._asdict().items():
        assert pairs.german == [f"Zwei Männer ({split}).", "Ein Hund, \u2028 läuft."]
        assert pairs.english == [f"Two men ({split}).", "A dog runs."]


@pytest.mark.parametrize(
    ("german", "message"),
    [
        (b"Ein Hund.\n", r"multi30k/val.de has 1 lines and multi30k/val.en 2"),
        (b"Ein Hund.\n \n", r"multi30k/val.de, line 2 is empty"),
        (b"Ein Hund.\nM\xe4nner.\n", r"multi30k/val.de, line 2: the text is not UTF-8"),
    ],
)
def test_bad_files(folder, monkeypatch, german, message):
    lines = LINES | {"validation": (german, LINES["validation"][1])}
    use(monkeypatch, lines)
    write_archive(folder / "multi30k-en-de.tar.xz", members(lines))
    with pytest.raises(ValueError, match=message):
        multi30k()


def test_missing_files(folder):
    with pytest.raises(FileNotFoundError, match=r"(?s)10 data file\(s\) are missing.*multi30k/train.de.gz"):
        multi30k()
    assert not list(folder.glob("*.de*"))
