"""`python -m jaxnets prepare` against the arrays that went into the files."""

import struct

import numpy as np
import pytest

from jaxnets import __main__ as commands, prepare
from jaxnets.data import read_shards

pytest.importorskip("array_record", reason="needs pip install array-record")
Image = pytest.importorskip("PIL.Image")

RNG = np.random.default_rng(0)


def run(capsys, *words):
    prepare.main([str(word) for word in words])
    return capsys.readouterr().out


def columns(folder):
    shards = read_shards(folder)
    return [np.stack(column) for column in zip(*(shards[i] for i in range(len(shards))), strict=True)]


def idx(path, array):
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes())
    return path


def test_idx(tmp_path, capsys):
    images, labels = RNG.integers(0, 256, (7, 5, 4), np.uint8), RNG.integers(0, 10, 7).astype(np.uint8)
    files = idx(tmp_path / "images", images), idx(tmp_path / "labels", labels)
    said = run(capsys, "idx", *files, tmp_path / "set", "--per-shard", 3)
    assert said.startswith("7 examples of image uint8[5, 4, 1], label int32[] in ")
    found = columns(tmp_path / "set")
    np.testing.assert_array_equal(found[0], images[..., None])
    np.testing.assert_array_equal(found[1], labels)


def test_cifar(tmp_path, capsys):
    (tmp_path / "cifar").mkdir()
    records = RNG.integers(0, 10, (10_000, 3073), np.uint8)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (tmp_path / "cifar" / f"{name}.bin").write_bytes(records.tobytes())
    run(capsys, "cifar", tmp_path / "cifar", tmp_path / "set", "--split", "test", "--per-shard", 5000)
    shards = read_shards(tmp_path / "set")
    assert len(shards) == 10_000
    image, label = shards[9_999]
    assert label == records[-1, 0]
    assert image[2, 30, 1] == records[-1, 1 + 1024 + 2 * 32 + 30]  # row 2, column 30, green


@pytest.mark.parametrize(("options", "column", "count"), [((), 1, 100), (("--coarse",), 0, 20)])
def test_cifar100(tmp_path, monkeypatch, capsys, options, column, count):
    few = prepare.CIFAR100._replace(files=(("train.bin", 5), ("test.bin", 3)))
    monkeypatch.setattr(prepare, "CIFAR100", few)
    records = RNG.integers(0, 20, (5, 3074), np.uint8)
    (tmp_path / "train.bin").write_bytes(records.tobytes())
    (tmp_path / "test.bin").write_bytes(records[:3].tobytes())
    run(capsys, "cifar", tmp_path, tmp_path / "set", *options)
    images, labels = columns(tmp_path / "set")
    np.testing.assert_array_equal(labels, records[:, column])
    np.testing.assert_array_equal(
        images[4, 2, 30], records[4, [2 + channel * 1024 + 2 * 32 + 30 for channel in range(3)]]
    )
    assert len(read_shards(tmp_path / "set").info["classes"]) == count


def test_folders_of_images(tmp_path, capsys):
    colors = {"apple": (200, 0, 0), "leaf": (0, 180, 0)}
    for name, color in colors.items():
        (tmp_path / "photos" / name / "more").mkdir(parents=True)
        Image.new("RGB", (40, 20), color).save(tmp_path / "photos" / name / "1.png")
        Image.new("RGB", (9, 30), color).save(tmp_path / "photos" / name / "more" / "2.PNG")
    (tmp_path / "photos" / "apple" / "notes.txt").write_text("not an image")
    run(capsys, "images", tmp_path / "photos", tmp_path / "set", "--size", 8, 6)
    images, labels = columns(tmp_path / "set")
    assert read_shards(tmp_path / "set").info == {"classes": ["apple", "leaf"]}
    assert (images.shape, sorted(labels)) == ((4, 8, 6, 3), [0, 0, 1, 1])
    for image, label in zip(images, labels, strict=True):
        np.testing.assert_array_equal(image, np.broadcast_to(list(colors.values())[label], (8, 6, 3)))


def test_tables(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("a,b,kind\n1,2,x\n3,4,y\n5,6,x\n")
    run(capsys, "csv", tmp_path / "t.csv", tmp_path / "set", "--target", "kind")
    inputs, targets = columns(tmp_path / "set")
    np.testing.assert_array_equal(inputs, [[1, 2], [3, 4], [5, 6]])
    np.testing.assert_array_equal(targets, [0, 1, 0])
    assert read_shards(tmp_path / "set").info == {"names": ["a", "b"], "classes": ["x", "y"]}


@pytest.mark.parametrize(
    ("target", "names"), [("2020", ["2019", "kind"]), ("-2", ["2019", "kind"]), ("0", ["2020", "kind"])]
)
def test_columns_of_tables_by_name_or_else_by_number(tmp_path, capsys, target, names):
    (tmp_path / "t.csv").write_text("2019,2020,kind\n1,2,0\n4,5,1\n")
    run(capsys, "csv", tmp_path / "t.csv", tmp_path / "set", "--target", target)
    assert read_shards(tmp_path / "set").info["names"] == names


def test_a_byte_order_mark_is_no_character(tmp_path, capsys):
    (tmp_path / "t.txt").write_text("abcdef" * 5, encoding="utf-8-sig")
    run(capsys, "text", tmp_path / "t.txt", tmp_path / "set", "--length", 10)
    assert read_shards(tmp_path / "set").info["vocabulary"] == "abcdef"


def test_text(tmp_path, capsys):
    text = "Übung macht den Meister. " * 5
    (tmp_path / "t.txt").write_text(text, encoding="utf-8")
    run(capsys, "text", tmp_path / "t.txt", tmp_path / "set", "--length", 10)
    vocabulary = read_shards(tmp_path / "set").info["vocabulary"]
    characters, following = columns(tmp_path / "set")
    assert "".join(vocabulary[i] for i in characters.reshape(-1)) == text[:120]
    assert "".join(vocabulary[i] for i in following[3]) == text[31:41]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["images", "photos", "out"], "no images in folders of classes"),
        (["text", "latin.txt", "out"], "latin.txt, line 2: not UTF-8"),
        (["text", "short.txt", "out"], "has 5 characters, too few for windows of 256"),
        (["csv", "missing.csv", "out"], "missing.csv"),
        (["images", "broken", "out"], "1.jpg is no image that can be decoded"),
        (["images", "deep", "out"], "1.png is no image that can be decoded: its pixels are of mode I"),
        (["idx", "labels", "images", "out"], "labels holds uint8[3], no images; give images first, then labels"),
        (["idx", "images", "images", "out"], "images holds uint8[3, 2, 2], but one integer an image is wanted"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "broken" / "cat").mkdir(parents=True)
    (tmp_path / "broken" / "cat" / "1.jpg").write_bytes(b"\xff\xd8\xff nothing")
    (tmp_path / "latin.txt").write_bytes("first\nzweite Übung".encode("latin-1"))
    (tmp_path / "short.txt").write_text("abcde")
    (tmp_path / "deep" / "cat").mkdir(parents=True)
    Image.fromarray(np.full((4, 4), 5000, np.uint16)).save(tmp_path / "deep" / "cat" / "1.png")
    idx(tmp_path / "images", np.zeros((3, 2, 2), np.uint8))
    idx(tmp_path / "labels", np.zeros(3, np.uint8))
    with pytest.raises(SystemExit, match="1"):
        prepare.main(words)
    said = capsys.readouterr().err
    assert message in said
    assert said.startswith("jaxnets prepare: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(("kind", "option"), [("text", "--length"), ("idx", "--per-shard"), ("images", "--size")])
def test_sizes_are_positive(capsys, kind, option):
    with pytest.raises(SystemExit, match="2"):
        prepare.main([kind, "in", option, *["0"] * (1 + (kind == "images")), "out"])
    assert "expected an integer of at least 1, got '0'" in capsys.readouterr().err


def test_commands_are_listed_and_unknown_ones_refused(capsys):
    commands.main([])
    assert "prepare     write a data set into shards" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        commands.main(["prepair"])
    assert "there is no command 'prepair'" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        commands.main(["prepare", "--help"])
    assert "usage: jaxnets prepare" in capsys.readouterr().out
