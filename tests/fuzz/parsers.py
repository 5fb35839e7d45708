"""The parsers of the library: of each a valid file, what reads it, and the errors that it documents."""

import dataclasses
import functools
import gzip
import importlib
import io
import json
import lzma
import os
import struct
import tarfile
import wave
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
import safetensors.numpy

from jaxnets import models, training, weights
from jaxnets.data import (
    SubwordTokenizer,
    WordTokenizer,
    characters,
    load_tokenizer,
    parse_sentences,
    read_csv,
    read_idx,
    read_wav,
    save_tokenizer,
)
from jaxnets.data.files import plain_file
from jaxnets.data.sentences import parse_tree
from jaxnets.report import RunFolder, append_metrics, read_metrics
from jaxnets.report.metrics_file import drop_metrics_after
from jaxnets.training.checkpoints import Progress

Files = Mapping[str, bytes]
"""Contents by path in the folder."""


def write_files(place: Path, files: Files) -> int:
    """Write the files as they are; return their bytes."""
    for name, content in files.items():
        path = place / name
        if "/" in name:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return sum(map(len, files.values()))


class Parser(NamedTuple):
    """One parser.

    Attributes:
        samples: the contents of valid files; those of different seeds differ.
        read: reads them from a folder.
        documented: the errors that it documents.
        store: writes the contents into the folder, and returns the bytes on disk.
        inputs: how many by default; fewer for slow ones.
        multiple: bytes of memory per byte of the files, besides `constant` and that of the fuzzer for native readers.
        constant: bytes of memory for any file.
        names_file: whether its errors name the file; they cannot if it gets only the content.
    """

    samples: Callable[[Path, int], Files]
    read: Callable[[Path], Any]
    documented: tuple[type[Exception], ...] = (ValueError,)
    store: Callable[[Path, Files], int] = write_files
    inputs: int = 10_000
    multiple: int = 8
    constant: int = 4 << 20
    names_file: bool = True


def written(write: Callable[[Path, int], Any]) -> Callable[[Path, int], Files]:
    """Samples that a function writes into a folder."""

    def samples(folder: Path, seed: int) -> Files:
        place = folder / f"sample{seed}"
        place.mkdir()
        write(place, seed)
        return {str(path.relative_to(place)): path.read_bytes() for path in place.rglob("*") if path.is_file()}

    return samples


def compressed(place: Path, files: Files) -> int:
    """Write the files, each damaged before it is compressed."""
    return write_files(place, {name: gzip.compress(content, 1) for name, content in files.items()})


def idx(folder: Path, seed: int) -> Files:
    shape = [(3, 4, 5), (7,)][seed]
    return {
        "a.idx": bytes([0, 0, 8, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + bytes(range(np.prod(shape)))
    }


def idx_gz(folder: Path, seed: int) -> Files:
    return {"a.idx.gz": gzip.compress(idx(folder, seed)["a.idx"], 1)}


def idx_in_gz(folder: Path, seed: int) -> Files:
    return {"a.idx.gz": idx(folder, seed)["a.idx"]}


cifar = importlib.import_module("jaxnets.data.cifar")
CIFAR = cifar.CIFAR100._replace(folder="c", files=(("train.bin", 2), ("test.bin", 1)))


def cifar_records(folder: Path, seed: int) -> Files:
    rng = np.random.default_rng(seed)
    return {name: b"".join(bytes([3, 50]) + rng.bytes(3072) for _ in range(count)) for name, count in CIFAR.files}


def cifar_tar(folder: Path, seed: int) -> Files:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=[tarfile.PAX_FORMAT, tarfile.GNU_FORMAT][seed]) as archive:
        for name, content in {"long" * 40 + "ü": b"text", **cifar_records(folder, seed)}.items():
            info = tarfile.TarInfo(f"c/{name}")
            info.size, info.mtime = len(content), 1.5 * (1 - seed)
            archive.addfile(info, io.BytesIO(content))
    return {"c.tar.gz": stream.getvalue()}


def cifar_tar_gz(folder: Path, seed: int) -> Files:
    return {"c.tar.gz": gzip.compress(cifar_tar(folder, seed)["c.tar.gz"], 1)}


def wav(folder: Path, seed: int) -> Files:
    """Of the standard library; the second one has two channels, an odd chunk and a byte that fills it up."""
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setnchannels(1 + seed)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.random.default_rng(seed).bytes(96))
    content = stream.getvalue()
    if seed:
        content = content[:12] + b"LIST" + struct.pack("<I", 5) + b"title\0" + content[12:]
        content = content[:4] + struct.pack("<I", len(content) - 8) + content[8:]
    return {"a.wav": content}


def xz_wav(folder: Path, seed: int) -> Files:
    return {"a.wav.xz": lzma.compress(wav(folder, seed)["a.wav"])}


TABLES = (
    'length,width,"of, kind"\r\n5.1,3.5,setosa\r\n6.3,-3.3e-1,"virginica"\r\n4,1.0,setosa\r\n\r\n',
    "\ufefflength,width,count\n1,2,0\n3,4,10\n5,6,2\n",
)


def csv_table(folder: Path, seed: int) -> Files:
    return {"t.csv": TABLES[seed].encode()}


def csv_numbers(folder: Path, seed: int) -> Files:
    return {"t.csv": b"1,2,0.5\n3,-4e3,1\n0.25,6,-2\n"}


TEXT = ("To be, or not to be: that is the question. " * 3).encode()
TEXT_FILE = plain_file(
    "text.txt", size=len(TEXT), sha256="5f71e44bbfd5d4a2d1e1eb3bbd3a5e4cd0d1ea7c9dbd5c4e7c8ee4d2bc9c4f5f"
)


def read_text(place: Path) -> Any:
    return characters((place / "text.txt").read_bytes().decode("latin-1"), validation=0.3)


def safetensors_file(folder: Path, seed: int) -> Files:
    model = models.mlp(MLP)
    path = folder / f"{seed}.safetensors"
    weights.save(path, *model.init(jax.random.key(seed)))
    return {"w.safetensors": path.read_bytes()}


MLP = models.MLPConfig((3, 4, 2), activation="tanh", norm=True)
MLP_SPEC = models.mlp(MLP).spec


def shards(folder: Path, seed: int) -> Files:
    """Two files and their index, as Hugging Face's libraries write them."""
    arrays = {f"fc{i}": np.full((i + 1, 2), seed, np.float32) for i in range(2)}
    index = {"metadata": {"total_size": 24}, "weight_map": {name: f"{name}.safetensors" for name in arrays}}
    files = {f"{name}.safetensors": safetensors.numpy.save({name: array}) for name, array in arrays.items()}
    return {"net.safetensors.index.json": json.dumps(index).encode(), **files}


class Hostile:
    """Makes a folder where it is unpickled by a reader that runs code."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("attacked",)


def pth(folder: Path, seed: int, zipped: bool = True) -> Files:
    import torch

    network = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)).state_dict()
    content = {"state_dict": network, "epoch": 3} if seed == 0 else {**network, "hostile": Hostile()}
    path = folder / "sample.pth"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return {"w.pth": path.read_bytes()}


def pth_members(folder: Path, seed: int) -> Files:
    with zipfile.ZipFile(io.BytesIO(pth(folder, seed)["w.pth"])) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def store_pth(place: Path, files: Files) -> int:
    """Damage inside the archive, whose checksums are right."""
    with zipfile.ZipFile(place / "w.pth", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return (place / "w.pth").stat().st_size


def export(place: Path, seed: int) -> None:
    model = models.mlp(MLP)
    params, state = model.init(jax.random.key(seed))
    shape = jax.ShapeDtypeStruct((2 + seed, 3), "float32")
    weights.export_model(place / "net.stablehlo", model, params, state, shape, any_batch=seed == 0)


def model_folder(place: Path, seed: int) -> None:
    model = [models.mlp(MLP), models.char_rnn(models.CharRNNConfig(3, hidden=2, layers=2))][seed]
    weights.save_model(place, model, *model.init(jax.random.key(seed)))


@dataclasses.dataclass(frozen=True)
class Settings:
    seed: int = 3
    learning_rate: float = 1e-3
    name: str = "digits"
    sizes: tuple[int, ...] = (4, 8)


Settings.__module__ = "nowhere"  # so that git, which is another process, is not asked for its commit


def run_config(folder: Path, seed: int) -> Files:
    path = folder / f"run{seed}"
    RunFolder.create("fuzz", Settings(), path=path)
    return {"config.json": (path / "config.json").read_bytes()}


def run_result(folder: Path, seed: int) -> Files:
    result = {"experiment": "fuzz", "seed": seed, "metrics": {"test": {"loss": 0.5, "f1": "NaN"}}, "commit": None}
    return {"result.json": json.dumps(result, indent=2).encode()}


def metrics_rows(place: Path, seed: int) -> None:
    for step, split in ((10, "train"), (10, "validation"), (20, "train"), (20, "test")):
        values = {"loss": 0.5 / step, "f1": float("nan"), "confusion": np.eye(2) * seed}
        append_metrics(place / "metrics.jsonl", step=step, epoch=step / 10, split=split, metrics=values)


def run_folder(place: Path) -> RunFolder:
    return RunFolder(place, "fuzz", 3, "", None)


def train_state(seed: int = 0) -> training.TrainState:
    params, state = models.mlp(MLP).init(jax.random.key(seed))
    return training.TrainState.create(params, optax.adam(0.1).init(params), state=state, seed=seed)


@functools.cache
def like() -> training.TrainState:
    """Made when it is needed: a process with arrays cannot fork."""
    return train_state()


def last_checkpoint(place: Path, seed: int) -> None:
    history = [{"step": 0, "epoch": 0, "split": "train", "loss": 1.0}]
    metrics = {"train": {"loss": 1.0, "confusion": np.eye(2, dtype=np.float32)}}
    with training.Checkpoints(place, best=None) as checkpoints:
        checkpoints.save_last(Progress(train_state(seed), None, history, metrics, {"seed": seed}))


def restore(place: Path) -> Any:
    return training.Checkpoints(place, best=None).restore_last(like(), None, {"seed": 0})


MISSING = (ValueError, FileNotFoundError)


def word_tokenizer(place: Path, seed: int) -> None:
    save_tokenizer(place, WordTokenizer.of(["a \u00e4 b", "a c"], lowercase=bool(seed)))


def subword_tokenizer(place: Path, seed: int) -> None:
    save_tokenizer(place, SubwordTokenizer.of(["low lower", "newest"][seed:] * 3, size=264))


def use_tokenizer(place: Path) -> Any:
    return load_tokenizer(place).encode("lower \u00e4")


def sentence_lines(folder: Path, seed: int) -> Files:
    return {"s.txt": ["1 a fine film .\n0 caf\u00e9\n", "0 bad\n1 \u2028\n"][seed].encode()}


def tree(folder: Path, seed: int) -> Files:
    return {"t.txt": [b"(3 (2 a) (4 gem))", b"(1 (0 (2 no) (2 way)) (2 .))"][seed]}


PARSERS: dict[str, Parser] = {
    "idx": Parser(idx, lambda place: read_idx(place / "a.idx")),
    "idx_gz": Parser(idx_gz, lambda place: read_idx(place / "a.idx.gz", max_bytes=1 << 20)),
    "idx_in_gz": Parser(idx_in_gz, lambda place: read_idx(place / "a.idx.gz", max_bytes=1 << 20), store=compressed),
    "wav": Parser(wav, lambda place: read_wav(place / "a.wav")),
    "wav_xz": Parser(xz_wav, lambda place: read_wav(place / "a.wav.xz", max_bytes=1 << 20), constant=16 << 20),
    "cifar": Parser(cifar_records, lambda place: cifar.read_folder(place, CIFAR), MISSING),
    "cifar_tar_gz": Parser(cifar_tar_gz, lambda place: cifar.read_archive(place / "c.tar.gz", CIFAR)),
    "cifar_tar": Parser(cifar_tar, lambda place: cifar.read_archive(place / "c.tar.gz", CIFAR), store=compressed),
    "csv": Parser(csv_table, lambda place: read_csv(place / "t.csv"), multiple=200),
    "csv_numbers": Parser(
        csv_numbers, lambda place: read_csv(place / "t.csv", header=False, regression=True), multiple=200
    ),
    "text": Parser(lambda folder, seed: {"text.txt": TEXT[seed:]}, read_text, names_file=False, multiple=50),
    "sentences": Parser(
        sentence_lines, lambda place: parse_sentences((place / "s.txt").read_bytes(), str(place / "s.txt"), classes=2)
    ),
    "tree": Parser(
        tree, lambda place: parse_tree((place / "t.txt").read_bytes().decode("latin-1"), str(place / "t.txt"))
    ),
    "words": Parser(written(word_tokenizer), use_tokenizer, MISSING, multiple=100),
    "subwords": Parser(written(subword_tokenizer), use_tokenizer, MISSING, inputs=2_500, multiple=100),
    "metrics": Parser(written(metrics_rows), lambda place: read_metrics(place / "metrics.jsonl"), multiple=100),
    "metrics_dropped": Parser(
        written(metrics_rows), lambda place: drop_metrics_after(place / "metrics.jsonl", 15), multiple=100
    ),
    "run_config": Parser(run_config, lambda place: RunFolder.reopen("fuzz", Settings(), place), multiple=100),
    "run_result": Parser(run_result, lambda place: run_folder(place).read_result(), multiple=100),
    "safetensors": Parser(safetensors_file, lambda place: weights.load(place / "w.safetensors", MLP_SPEC)),
    "shards": Parser(
        shards, lambda place: weights.read_torch(place / "net.safetensors.index.json"), MISSING, multiple=100
    ),
    "pth": Parser(pth, lambda place: weights.read_torch(place / "w.pth")),
    "pth_members": Parser(
        pth_members, lambda place: weights.read_torch(place / "w.pth"), store=store_pth, inputs=2_500
    ),
    "pth_legacy": Parser(
        lambda folder, seed: pth(folder, seed, zipped=False), lambda place: weights.read_torch(place / "w.pth")
    ),
    "stablehlo": Parser(written(export), lambda place: weights.load_exported(place / "net.stablehlo")),
    "model_folder": Parser(written(model_folder), weights.load_model, MISSING, multiple=100),
    "layers": Parser(  # of which the config may announce 10,000, each with its spec
        written(lambda place, seed: model_folder(place, 1 - seed)),
        weights.load_model,
        MISSING,
        inputs=5_000,
        multiple=100,
        constant=128 << 20,
    ),
    "checkpoint": Parser(
        written(lambda place, seed: training.save_checkpoint(place / "c", train_state(seed))),
        lambda place: training.load_checkpoint(place / "c", like=like()),
        MISSING,
        inputs=200,
        multiple=50,
    ),
    "last": Parser(
        written(last_checkpoint), lambda place: training.load_last(place, like=like()), MISSING, inputs=150, multiple=50
    ),
    "restore": Parser(written(last_checkpoint), restore, inputs=150, multiple=50),
}
