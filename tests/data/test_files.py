import gzip
import hashlib
import lzma
import sys
from pathlib import Path

import pytest

from jaxnets.data import data_folder
from jaxnets.data.files import DataFile, load_files, plain_file
from tests.data.test_download import serving

CONTENT = b"twelve bytes"
ZIPPED = gzip.compress(CONTENT, mtime=0)
HUNGRY = {"id": lzma.FILTER_LZMA2, "dict_size": 1 << 28}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def zipped_file(url="http://127.0.0.1:1"):
    return DataFile("set/a.gz", (f"{url}/plain",), len(ZIPPED), sha256(ZIPPED), len(CONTENT), sha256(CONTENT))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("JAXNETS_DATA", str(tmp_path))
    return tmp_path


def test_data_folder(monkeypatch, folder):
    assert data_folder() == folder
    monkeypatch.setenv("JAXNETS_DATA", "~/somewhere")
    assert data_folder() == Path.home() / "somewhere"
    monkeypatch.delenv("JAXNETS_DATA")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert data_folder() == Path("/caches/jaxnets")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_folder() == Path.home() / ".cache" / "jaxnets"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert data_folder() == Path.home() / "Library" / "Caches" / "jaxnets"


@pytest.mark.parametrize(
    ("name", "content"), [("a", CONTENT), ("a.gz", ZIPPED), ("a.gz", gzip.compress(CONTENT, 1, mtime=99))]
)
def test_compressed_by_anyone_or_not_at_all(folder, name, content):
    (folder / "set").mkdir()
    (folder / "set" / name).write_bytes(content)
    assert load_files([zipped_file()]) == [CONTENT]


@pytest.mark.parametrize(("name", "content"), [("a.txt.gz", ZIPPED), ("a.txt.xz", lzma.compress(CONTENT, preset=9))])
def test_plain_file_may_lie_compressed(folder, name, content):
    (folder / name).write_bytes(content)
    assert load_files([plain_file("a.txt", "", size=len(CONTENT), sha256=sha256(CONTENT))]) == [CONTENT]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a", b"other bytes.", "SHA-256 .* was expected; .* remove it"),
        ("a", CONTENT[:-1], "holds 11 bytes where 12"),
        ("a", CONTENT + b"!", "more than the expected 12 bytes"),
        ("a.gz", gzip.compress(bytes(10**6)), "more than the expected 12 bytes"),
        ("a.gz", ZIPPED[:-9], "not a complete gzip file"),
        ("a.gz", CONTENT, "not a complete gzip file"),
        ("a.xz", lzma.compress(bytes(10**6)), "more than the expected 12 bytes"),
        ("a.xz", lzma.compress(CONTENT)[:-9], "not a complete xz file"),
        ("a.xz", CONTENT, "not a complete xz file"),
        ("a.xz", lzma.compress(CONTENT, filters=[HUNGRY]), "not a complete xz file: Memory usage limit exceeded"),
    ],
)
def test_wrong_files_in_the_folder(folder, name, content, message):
    (folder / "set").mkdir()
    (folder / "set" / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_files([zipped_file()])


def test_missing_file_is_downloaded_once(folder):
    with serving(ZIPPED) as server:
        file = zipped_file(server.url)
        assert load_files([file]) == load_files([file]) == [CONTENT]
        assert len(server.ranges) == 1
    assert [path.name for path in (folder / "set").iterdir()] == ["a.gz"]


def test_offline_lists_what_is_missing_and_where_to_put_it(folder):
    (folder / "there.txt").write_bytes(CONTENT)
    there, missing = (
        plain_file(name, "http://127.0.0.1:1/x", size=len(CONTENT), sha256=sha256(CONTENT))
        for name in ("there.txt", "missing.txt")
    )
    with pytest.raises(FileNotFoundError) as raised:
        load_files([there, zipped_file(), missing])
    text = str(raised.value)
    assert text.startswith(f"2 data file(s) are missing in {folder}")
    for part in (
        folder / "set/a.gz",
        folder / "missing.txt",
        sha256(ZIPPED),
        sha256(CONTENT),
        "from http://127.0.0.1:1/x",
    ):
        assert str(part) in text
    assert "there.txt" not in text


def test_folder_that_cannot_be_written_says_the_same(folder, monkeypatch):
    (folder / "file").write_text("")
    monkeypatch.setenv("JAXNETS_DATA", str(folder / "file"))
    with pytest.raises(FileNotFoundError, match="Put these files there by hand"):
        load_files([zipped_file()])
