"""Shards: what is written is read, and what is damaged is named."""

import json
import threading

import numpy as np
import pytest

from jaxnets.data import Source, read_shards, write_shards

pytest.importorskip("array_record", reason="needs pip install array-record")

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (25, 4, 3), np.uint8)
LABELS = RNG.integers(-5, 5, 25).astype(np.int64)
WEIGHTS = RNG.normal(size=25)


@pytest.fixture
def folder(tmp_path):
    examples = zip(IMAGES, LABELS, WEIGHTS, strict=True)
    write_shards(tmp_path / "set", examples, ["image", "label", "weight"], per_shard=10, info={"classes": ["a", "b"]})
    return tmp_path / "set"


def test_examples_come_back_by_number(folder):
    """Over the borders of files, and each as often as it is asked for."""
    shards = read_shards(folder)
    assert (len(shards), shards.info) == (25, {"classes": ["a", "b"]})
    assert sorted(path.name for path in folder.iterdir()) == [f"0000{i}.array_record" for i in range(3)] + [
        "manifest.json"
    ]
    rows = [24, 0, 9, 10, 3, 24, 19]
    for source in (shards, Source(shards, threads=3)):
        found = (
            source.take(rows)
            if source is not shards
            else [np.stack(x) for x in zip(*shards.__getitems__(rows), strict=True)]
        )
        for array, expected in zip(found, (IMAGES, LABELS, WEIGHTS), strict=True):
            np.testing.assert_array_equal(array, expected[rows])
            assert array.dtype == expected.dtype
    shards.verify()


@pytest.mark.parametrize("at_once", [1, 100])
def test_examples_come_back_however_many_are_cut_at_once(folder, monkeypatch, at_once):
    """One after the other, as large ones are, or three; a record has 32 bytes."""
    monkeypatch.setattr("jaxnets.data.shards._CUT_AT_ONCE", at_once)
    rows = np.random.default_rng(1).permutation(25)
    for array, expected in zip(read_shards(folder).read_batch(rows), (IMAGES, LABELS, WEIGHTS), strict=True):
        np.testing.assert_array_equal(array, expected[rows])


def test_one_array_is_no_tuple(tmp_path):
    shards = write_shards(tmp_path / "set", iter(IMAGES), ["image"])
    np.testing.assert_array_equal(shards[7], IMAGES[7])


def test_threads_read_side_by_side(folder):
    shards, wrong = read_shards(folder), []

    def read():
        for _ in range(20):
            row = int(np.random.default_rng().integers(25))
            if (shards[row][0] != IMAGES[row]).any():
                wrong.append(row)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_every_flipped_byte_is_found_and_named(folder):
    """In the record, or in what the file keeps around it."""
    path = folder / "00001.array_record"
    content = path.read_bytes()
    for place in RNG.integers(0, len(content), 40):
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        shards = read_shards(folder)
        with pytest.raises(ValueError, match=r"00001\.array_record is damaged: its SHA-256"):
            shards.verify()
        try:
            read = np.stack([shards[row][0] for row in range(10, 20)])
        except ValueError as error:
            assert "00001.array_record is damaged" in str(error)  # noqa: PT017
        else:
            np.testing.assert_array_equal(read, IMAGES[10:20])


def test_a_damaged_record_is_named_by_number(folder):
    path = folder / "00002.array_record"
    content = path.read_bytes()
    broken = []
    for place in range(0, len(content), 16):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        shards = read_shards(folder)
        for row in range(20, 25):
            try:
                shards[row]
            except ValueError as error:
                if f"damaged at record {row - 20}: " in str(error):
                    broken.append(row)
    assert set(broken) == set(range(20, 25))


@pytest.mark.parametrize("size", [0, 100, -1])
def test_truncated_and_missing_files_are_named_with_their_records(folder, size):
    path = folder / "00002.array_record"
    content = path.read_bytes()
    path.write_bytes(content[:size])
    bytes_left = f"it has {len(content[:size])} of {len(content)} bytes"
    records = "its records, the examples 20 to 24, cannot be read"
    with pytest.raises(ValueError, match=rf"00002\.array_record is damaged: {bytes_left}; {records}"):
        read_shards(folder)[22]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=rf"00002\.array_record is missing, which .*json names; {records}"):
        read_shards(folder)[22]
    assert read_shards(folder)[19] is not None


def test_a_shard_of_another_data_set_is_found(folder, tmp_path):
    other = write_shards(tmp_path / "other", iter(IMAGES), ["image"], per_shard=10)
    (folder / "00000.array_record").write_bytes((other.folder / "00000.array_record").read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"][0]["bytes"] = (folder / "00000.array_record").stat().st_size
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match=r"00000\.array_record is damaged at record 3: its 16 bytes are not those"):
        read_shards(folder)[3]


def test_writing_that_is_not_finished_leaves_no_data_set(tmp_path):
    def examples():
        yield from IMAGES[:15]
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_shards(tmp_path / "set", examples(), ["image"], per_shard=10)
    with pytest.raises(FileNotFoundError, match=r"there is no .*manifest\.json; make it by python -m jaxnets prepare"):
        read_shards(tmp_path / "set")
    with pytest.raises(ValueError, match=r"set is not empty; choose another folder, or delete what is in it"):
        write_shards(tmp_path / "set", iter(IMAGES), ["image"])


NO_SHARDS = '{"format": 1, "fields": [], "info": {}, "shards": []}'
NO_DTYPE = '{"format": 1, "fields": [{"name": "x", "dtype": "float99", "shape": []}], "info": {}, "shards": []}'
NO_CHECKSUM = '{"format": 1, "fields": [], "info": {}, "shards": [{"file": "x", "examples": 2, "bytes": 9}]}'
FEW_EXAMPLES = NO_CHECKSUM.replace("2,", "-2,").replace("9", '9, "sha256": "0"')


@pytest.mark.parametrize(
    "content",
    [
        *("", "{}", "[1]", '{"format": 2}', '{"format": 1, "fields": 3}'),
        *(NO_SHARDS, NO_DTYPE, NO_CHECKSUM, FEW_EXAMPLES),
    ],
)
def test_damaged_manifests_are_named(folder, content):
    (folder / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json is damaged: .*; prepare it again"):
        read_shards(folder)


def test_what_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="there is no example"):
        write_shards(tmp_path / "a", [], ["image"])
    with pytest.raises(ValueError, match=r"example 1 is .*shape=\(2,\).*, unlike the first, .*shape=\(3,\)"):
        write_shards(tmp_path / "b", [np.ones(3), np.ones(2)], ["image"])
    with pytest.raises(ValueError, match=r"example 0 has 2 arrays, but there are the names \['image'\]"):
        write_shards(tmp_path / "c", [(np.ones(3), np.ones(2))], ["image"])
    for count in (0, 2.5):
        with pytest.raises(ValueError, match=f"per_shard must be an integer of at least 1, got {count}"):
            write_shards(tmp_path / "d", [np.ones(3)], ["image"], per_shard=count)
    for names in ("ab", ["a", "a"]):
        with pytest.raises(ValueError, match="names must be a list of different names"):
            write_shards(tmp_path / "e", [(np.ones(3), np.ones(3))], names)
    for example in ({"image": np.ones(3)}, np.array(["text"]), np.array(None), np.zeros(2, [("x", np.int32)])):
        with pytest.raises(TypeError, match=r"'image' of example 0 holds .*, no numbers; give an array of numbers"):
            write_shards(tmp_path / f"f{np.asarray(example).dtype.num}", [example], ["image"])


def test_what_cannot_be_kept_with_the_examples_is_refused_before_they_are_read(tmp_path):
    with pytest.raises(TypeError, match="info must be a dict of what JSON can hold"):
        write_shards(tmp_path / "a", pytest.fail, ["image"], info={"mean": np.ones(3)})


@pytest.mark.parametrize("numbers", [[1.5], [True, False], ["1"]])
def test_what_are_no_numbers_of_examples_is_refused(folder, numbers):
    with pytest.raises(TypeError, match="examples are taken by their numbers, integers"):
        read_shards(folder).read_batch(numbers)


def test_numbers_outside_of_the_data_set_are_an_error(folder):
    for row in (-1, 25):
        with pytest.raises(IndexError, match=f"has the examples 0 to 24, got {row} to {row}"):
            read_shards(folder)[row]
