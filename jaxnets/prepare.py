"""`python -m jaxnets prepare KIND INPUT... FOLDER`: write a data set into shards for `jaxnets.data.Source`."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnets.console import library_command
from jaxnets.data.cifar import CIFAR10, CIFAR100, read_folder
from jaxnets.data.cifar_classes import CIFAR10_CLASSES, CIFAR100_COARSE, CIFAR100_FINE
from jaxnets.data.csv_file import UnknownColumnError, read_csv
from jaxnets.data.files import read_content
from jaxnets.data.idx import read_idx
from jaxnets.data.shards import write_shards
from jaxnets.data.text import characters
from jaxnets.errors import FileError
from jaxnets.extras import needed_for

IMAGES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
"""The endings of files that are taken for images."""
_TEXT_BYTES = 4 << 30


class Prepared(NamedTuple):
    """Examples that are about to be written; see `write_shards`."""

    examples: Iterator[Any]
    names: Sequence[str]
    info: dict[str, Any]


def from_idx(arguments: argparse.Namespace) -> Prepared:
    """Images and labels of two IDX files, as those of MNIST; images get a last axis for their channel."""
    images, labels = read_idx(arguments.images), read_idx(arguments.labels)
    if images.ndim < 2:
        raise ValueError(
            f"{arguments.images} holds {images.dtype}{list(images.shape)}, no images; give images first, then labels"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{arguments.labels} holds {labels.dtype}{list(labels.shape)}, but one integer an image is wanted; give "
            "images first, then labels"
        )
    if len(images) != len(labels):
        raise ValueError(f"{arguments.images} has {len(images)} images and {arguments.labels} has {len(labels)} labels")
    images = images[..., None] if images.ndim == 3 else images
    return Prepared(zip(images, labels.astype(np.int32), strict=True), ("image", "label"), {})


def from_cifar(arguments: argparse.Namespace) -> Prepared:
    """Images of one split of CIFAR-10 or CIFAR-100, from the folder of its binary files."""
    files, column = CIFAR10, 0
    classes: tuple[str, ...] = CIFAR10_CLASSES
    if any((arguments.folder / name).is_file() for name, _ in CIFAR100.files):
        files = CIFAR100
        column, classes = (0, CIFAR100_COARSE) if arguments.coarse else (1, CIFAR100_FINE)
    *train, test = read_folder(arguments.folder, files)
    records = test if arguments.split == "test" else np.concatenate(train)
    images = records[:, len(files.label_limits) :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    labels = records[:, column].astype(np.int32)
    return Prepared(zip(images, labels, strict=True), ("image", "label"), {"classes": list(classes)})


def from_images(arguments: argparse.Namespace) -> Prepared:
    """Images of a folder that has a folder for each class, decoded, resized and cropped in the middle."""
    classes = sorted(entry.name for entry in arguments.folder.iterdir() if entry.is_dir())
    paths = [
        (path, number)
        for number, name in enumerate(classes)
        for path in sorted((arguments.folder / name).rglob("*"))
        if path.suffix.lower() in IMAGES
    ]
    if not paths:
        raise ValueError(
            f"{arguments.folder} has no images in folders of classes; expected files such as "
            f"{arguments.folder}/cat/1.jpg, with one of the endings {', '.join(IMAGES)}"
        )
    order = np.random.default_rng(arguments.seed).permutation(len(paths))  # neighbors are of different classes then
    size = tuple(arguments.size)
    examples = ((read_image(paths[i][0], size), np.int32(paths[i][1])) for i in order)
    return Prepared(examples, ("image", "label"), {"classes": classes})


def from_csv(arguments: argparse.Namespace) -> Prepared:
    """Rows of a table, all columns but the target as inputs; see `jaxnets.data.read_csv`."""
    read = functools.partial(
        read_csv, arguments.table, regression=arguments.regression, categories=arguments.categories
    )
    try:
        table = read(arguments.target)
    except UnknownColumnError:
        if not arguments.target.lstrip("-").isdigit():
            raise
        table = read(int(arguments.target))
    info = {"names": list(table.names), "classes": list(table.classes)}
    return Prepared(zip(table.inputs, table.labels, strict=True), ("input", "target"), info)


def from_text(arguments: argparse.Namespace) -> Prepared:
    """Windows of a text by character: each one's characters, and those that follow each of them."""
    content = read_content(arguments.text, _TEXT_BYTES)
    try:
        text = characters(content.decode("utf-8-sig"), validation=0.0)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{arguments.text}, line {line}: not UTF-8; convert it, for example by iconv") from error
    length, codes = arguments.length, text.train
    if len(codes) <= length:
        raise ValueError(f"{arguments.text} has {len(codes)} characters, too few for windows of {length}")
    starts = range(0, len(codes) - length, length)
    windows = ((codes[start : start + length], codes[start + 1 : start + length + 1]) for start in starts)
    return Prepared(windows, ("characters", "next"), {"vocabulary": text.vocabulary.characters})


def read_image(path: Path, size: tuple[int, ...]) -> np.ndarray:
    """Read an image as uint8 `[height, width, 3]`: made as small as covers the size, then cut in the middle.

    Raises:
        ValueError: if it cannot be decoded, with its name.
        ImportError: if Pillow is not installed.
    """
    with needed_for("prepare images"):
        from PIL import Image, ImageOps
    height, width = size
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):  # Pillow would cut its numbers off at 255
                raise ValueError(f"its pixels are of mode {image.mode}, not of 8 bits a channel")
            fitted = ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.BILINEAR)
            return np.asarray(fitted, np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FileError(f"{path} is no image that can be decoded: {error}; remove or replace it") from error


def _positive(text: str) -> int:
    """A positive integer of the command line."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line: the kinds of input and their options."""
    parser = argparse.ArgumentParser(
        prog=f"{library_command()} prepare",
        description="Write a data set into shards, which jaxnets.data.Source reads.",
    )
    kinds = parser.add_subparsers(title="kinds", dest="kind", required=True, metavar="KIND")

    def kind(name: str, prepare: Callable[[argparse.Namespace], Prepared]) -> argparse.ArgumentParser:
        added = kinds.add_parser(name, help=prepare.__doc__, description=prepare.__doc__)
        added.set_defaults(prepare=prepare)
        return added

    idx = kind("idx", from_idx)
    idx.add_argument("images", type=Path)
    idx.add_argument("labels", type=Path)
    cifar = kind("cifar", from_cifar)
    cifar.add_argument("folder", type=Path)
    cifar.add_argument("--split", choices=("train", "test"), default="train")
    cifar.add_argument(
        "--coarse", action="store_true", help="the 20 groups of CIFAR-100 in the place of its 100 classes"
    )
    images = kind("images", from_images)
    images.add_argument("folder", type=Path)
    images.add_argument("--size", type=_positive, nargs=2, default=(224, 224), metavar=("HEIGHT", "WIDTH"))
    images.add_argument("--seed", type=int, default=0, help="of the order in which they are written")
    table = kind("csv", from_csv)
    table.add_argument("table", type=Path)
    table.add_argument("--target", default="-1", help="name or number of the column to predict")
    table.add_argument("--regression", action="store_true", help="the target is a number, not a class")
    table.add_argument("--categories", nargs="*", default=(), help="columns of words, which become numbers 0 and 1")
    text = kind("text", from_text)
    text.add_argument("text", type=Path)
    text.add_argument("--length", type=_positive, default=256, help="characters of a window")
    for added in kinds.choices.values():
        added.add_argument("out", type=Path, help="the folder to write, new or empty")
        added.add_argument("--per-shard", type=_positive, default=10_000, help="examples a file")
    return parser


def run(arguments: argparse.Namespace) -> None:
    """Write the shards, read them once, and say what is there."""
    prepared = arguments.prepare(arguments)
    shards = write_shards(
        arguments.out, prepared.examples, prepared.names, per_shard=arguments.per_shard, info=prepared.info
    )
    shards.verify()
    fields = ", ".join(f"{field.name} {field.dtype}{list(field.shape)}" for field in shards.fields)
    print(f"{len(shards):,} examples of {fields} in {arguments.out}")
    print(f"read them by jaxnets.data.Source(jaxnets.data.read_shards({str(arguments.out)!r}))")


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line and run."""
    parser = make_parser()
    arguments = parser.parse_args(words)
    try:
        run(arguments)
    except (ValueError, OSError, ImportError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
