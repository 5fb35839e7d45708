"""Photographs of products with their titles, to train networks of images and texts."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnets.data.csv_cells import read_rows
from jaxnets.data.files import data_folder, read_content
from jaxnets.errors import FileError
from jaxnets.extras import needed_for

SHA256 = {
    "train": "3a233e7370bb919c45e07a4f1ecc3cbb65d2fc49eb8b4b8d400186df6dc1abb6",
    "test": "4be961aadb185bbe377faee656dc33a66ea690c4fbc38a74af6c621b0c1491ca",
}
"""Of the CSV files."""
HEIGHT, WIDTH, ROWS, COLUMNS = 64, 48, 20, 25
"""Of a picture in pixels, and how many pictures a sheet has along each side."""
_FIELDS = ("caption", "gender", "articleType", "baseColour")
_MAX_CSV, _MAX_SHEET = 1 << 24, 1 << 24
_FOLDER = "fashion_products"
_SOURCES = (
    "titles: github.com/Mahmoud-nfz/Image-Recommendation b1b9f01, data/styles.csv; pictures: "
    "github.com/aditya-patil-00/Fashion-Recommender 6e6ee42, data/images"
)


class Products(NamedTuple):
    """Pictures of products, and what the shop says of each.

    Attributes:
        images: uint8 `[products, 64, 48, 3]`.
        captions: titles, such as `"Turtle Check Men Navy Blue Shirt"`.
        genders: whom it is for, such as `"Men"` and `"Unisex"`.
        article_types: what it is, such as `"Shirts"`.
        colors: the main color, such as `"Navy Blue"`; empty for one product.
    """

    images: np.ndarray
    captions: list[str]
    genders: list[str]
    article_types: list[str]
    colors: list[str]


class FashionProducts(NamedTuple):
    """The splits.

    Attributes:
        train: 6,000 products with 5,178 different titles (5,169 if capitals do not count).
        test: 1,000 products with different titles, none of them in `train` (one is there with other spaces).
    """

    train: Products
    test: Products


def fashion_products() -> FashionProducts:
    """Load 7,000 small photographs of clothes and accessories with their titles, kinds and colors.

    The files are `fashion_products/train.csv` and `test.csv` in `data_folder()`, and the pictures of each in sheets
    `train-00.jpg`, ... of 20 rows of 25 pictures, in the order of the CSV file. They are not downloaded. They were made
    of the first 14,999 products of the data set Fashion Product Images on Kaggle (paramaggarwal), whose licence is
    believed to be MIT. The photographs are of an online shop, and show people and brands.

    Returns:
        The splits, in the order of the files.

    Raises:
        FileNotFoundError: if a file is missing; the error says which.
        ImportError: if Pillow is not installed.
        ValueError: if a file is damaged.

    Example:
        `fashion_products().train.captions[0]` is `"Turtle Check Men Navy Blue Shirt"`.

    Warning:
        Titles name brands and lines that a picture of this size cannot show, so no network can find all of them. Only
        the CSV files are verified by their SHA-256; the sheets are checked by their size.
    """
    return FashionProducts(_split("train"), _split("test"))


def _split(name: str) -> Products:
    folder = data_folder() / _FOLDER
    content = _content(folder / f"{name}.csv", _MAX_CSV)
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256[name]:
        raise FileError(
            f"{folder / name}.csv has content of SHA-256 {found} where {SHA256[name]} was expected; it is damaged or "
            "another file"
        )
    columns = _columns(content.decode("utf-8"), f"{_FOLDER}/{name}.csv")
    count, sheet = len(columns[0]), ROWS * COLUMNS
    paths = [folder / f"{name}-{i:02}.jpg" for i in range(-(-count // sheet))]
    images = np.concatenate([_pictures(path) for path in paths])[:count]
    return Products(images, *columns)


def _columns(text: str, name: str) -> list[list[str]]:
    """The columns of `_FIELDS`, one text a product."""
    (_, header), *rows = read_rows(text, ",", name)
    if missing := [field for field in _FIELDS if field not in header]:
        raise FileError(f"{name}: the first line lacks {', '.join(missing)}, got {', '.join(header)}")
    places = [header.index(field) for field in _FIELDS]
    if not rows:
        raise FileError(f"{name} has a header but no rows")
    for line, cells in rows:
        if not cells[places[0]].strip():
            raise FileError(f"{name}, line {line}: the caption is empty")
    return [[cells[place] for _, cells in rows] for place in places]


def _pictures(path: Path) -> np.ndarray:
    """The pictures of a sheet, row by row, uint8 `[500, 64, 48, 3]`."""
    library = _pillow()
    content = _content(path, _MAX_SHEET)
    try:
        with library.open(io.BytesIO(content), formats=["JPEG", "PNG"]) as picture:
            if (picture.mode, picture.size) != ("RGB", (COLUMNS * WIDTH, ROWS * HEIGHT)):
                raise FileError(
                    f"{path}: a sheet is {COLUMNS * WIDTH} x {ROWS * HEIGHT} pixels of RGB, got {picture.size[0]} x "
                    f"{picture.size[1]} of {picture.mode}"
                )
            pixels = np.asarray(picture)
    except (OSError, SyntaxError) as error:
        raise FileError(f"{path} is not a complete picture: {error}") from error
    tiles = pixels.reshape((ROWS, HEIGHT, COLUMNS, WIDTH, 3)).swapaxes(1, 2)
    return tiles.reshape((ROWS * COLUMNS, HEIGHT, WIDTH, 3))


def _content(path: Path, max_bytes: int) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}; set JAXNETS_DATA to a folder that has {_FOLDER}/{path.name}, or make the files as "
            f"help(jaxnets.data.fashion_products) describes ({_SOURCES})"
        )
    return read_content(path, max_bytes)


def _pillow() -> Any:
    with needed_for("fashion_products"):
        from PIL import Image
    return Image
