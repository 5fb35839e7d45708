"""The cells of a CSV file: rows, numbers, classes and categories, and whether the first line names the columns."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, TypeAlias

import numpy as np

from jaxnets.errors import FileError

_BEYOND_FLOAT32 = float(np.finfo(np.float32).max) * (1 + 2.0**-25)
"""Half a step beyond the largest number, from where it is infinity that is nearest."""

Cells: TypeAlias = Sequence[tuple[int, str]]
"""The cells of one column, each with the number of its line."""

_WHOLE = re.compile(r"[+-]?[0-9]+(\.0*)?")
_YEAR = re.compile(r"(1[5-9]|20|21)[0-9]{2}")


class Source(NamedTuple):
    """Where cells come from, and how they are written.

    Attributes:
        name: of the file, for errors.
        decimal: the sign before the decimals of a number.
        na_values: the texts of missing cells.
    """

    name: str
    decimal: str
    na_values: frozenset[str]

    def number(self, cell: str) -> float | None:
        """The number in a cell, or None. Unlike Python, 1_000 and digits of other scripts are not numbers."""
        if "_" in cell or not cell.isascii() or (self.decimal != "." and "." in cell):
            return None
        try:
            return float(cell.replace(self.decimal, "."))
        except ValueError:
            return None

    def is_missing(self, cell: str) -> bool:
        """Whether a cell is one of `na_values`."""
        return cell.strip() in self.na_values


def read_rows(text: str, delimiter: str, name: str) -> list[tuple[int, list[str]]]:
    """The cells of each row with its line number; all rows have the same number of cells."""
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise FileError(f"{name}, line {reader.line_num}: {error}") from error
    while rows and not rows[-1][1]:
        rows.pop()
    if not rows:
        raise FileError(f"{name} is empty")
    width = len(rows[0][1])
    if width == 0:
        raise FileError(f"{name}, line {rows[0][0]} is empty; remove it")
    for line, cells in rows:
        if len(cells) != width or not cells:
            raise FileError(f"{name}, line {line}: {len(cells)} cells where the first line has {width}")
    return rows


def finite_number(source: Source, cell: str, line: int, column: str) -> float:
    """The number in a cell, or a ValueError that names line and column."""
    number = source.number(cell)
    if source.is_missing(cell):
        hint = ", which is missing according to na_values; leave out the row"
    elif number is None and line == 1:
        hint = "; if the first line names the columns, write header=True"
    elif number is None and source.decimal == "." and source._replace(decimal=",").number(cell) is not None:
        hint = "; for a decimal comma write decimal=','"
    elif number is None or not math.isfinite(number) or abs(number) >= _BEYOND_FLOAT32:
        hint = ""
    else:
        return number
    raise FileError(f"{source.name}, line {line}, column {column!r}: expected a finite number, got {cell!r}{hint}")


def column_of_numbers(source: Source, cells: Cells, column: str) -> np.ndarray:
    """A column of the inputs, float32 `[rows]`, NaN where it is missing."""
    values = [
        math.nan if source.is_missing(cell) else finite_number(source, cell, line, column) for line, cell in cells
    ]
    return np.array(values, np.float32)


def one_hot_columns(source: Source, cells: Cells, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The columns that a column of categories becomes, float32 `[rows, categories]`, and their names.

    Where the category is missing, all of them are 0.
    """
    texts = [None if source.is_missing(cell) else cell.strip() for _, cell in cells]
    for (line, cell), text in zip(cells, texts, strict=True):
        if text == "":
            raise FileError(
                f"{source.name}, line {line}, column {column!r}: expected a category, got {cell!r}; if it is missing, "
                'write na_values=("",)'
            )
    found = in_order({text for text in texts if text is not None}, source.decimal)
    index = {text: i for i, text in enumerate(found)}
    hot = np.zeros((len(texts), len(found)), np.float32)
    for row, text in enumerate(texts):
        if text is not None:
            hot[row, index[text]] = 1
    return hot, tuple(f"{column}={category}" for category in found)


def class_labels(source: Source, cells: Cells, column: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels, int32 `[rows]`, and the names of their classes, which are the texts of the cells."""
    texts = []
    for line, cell in cells:
        text, number = cell.strip(), source.number(cell)
        where = f"{source.name}, line {line}, column {column!r}: {cell!r}"
        if text in source.na_values:
            raise FileError(f"{where} is missing according to na_values, and so is no class; leave out the row")
        if not text or (number is not None and math.isfinite(number) and not number.is_integer()):
            raise FileError(f"{where} is not a class; for a number to predict write regression=True")
        texts.append(text)
    classes = in_order(set(texts), source.decimal)
    index = {text: i for i, text in enumerate(classes)}
    return np.array([index[text] for text in texts], np.int32), classes


def in_order(texts: set[str], decimal: str) -> tuple[str, ...]:
    """The texts by their numbers if all are whole numbers, else in alphabetical order.

    Example:
        >>> in_order({"10", "9", "09"}, "."), in_order({"10", "9", "b"}, ".")
        (('09', '9', '10'), ('10', '9', 'b'))
    """
    plain = {text: text.replace(decimal, ".") if decimal != "." else text for text in texts}
    if all(_WHOLE.fullmatch(text) for text in plain.values()):
        return tuple(sorted(texts, key=lambda text: (Decimal(plain[text]), text)))
    return tuple(sorted(texts))


def names_columns(
    source: Source, first: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int], other: Sequence[int]
) -> bool:
    """Whether the first line names the columns and is not an example.

    Args:
        source: of the cells.
        first: the cells of the first line.
        rows: those of the other lines.
        numeric: the columns that hold numbers.
        other: the target and the columns of categories.
    """
    if any(source.number(first[i]) is None for i in numeric) or list(first) == [str(i) for i in range(len(first))]:
        return True  # the latter is the header that pandas writes for columns without names
    texts = [i for i in other if source.number(first[i]) is None]
    if any(first[i] == row[i].strip() for i in texts for row in rows):
        return False  # such as a class, which other examples have too
    names = [i for i in texts if re.search("[a-zA-Z]", first[i]) and not source.is_missing(first[i])]
    if any(all(source.number(row[i]) is not None for row in rows) for i in names):
        return True
    if not numeric:
        return any(source.number(cell) is None for cell in first)
    years = [i for i in (*numeric, *other) if i not in texts]
    return _are_years(first, years) and not all(_are_years(row, years) for row in rows)


def _are_years(cells: Sequence[str], columns: Sequence[int]) -> bool:
    return all(_YEAR.fullmatch(cells[i].strip()) for i in columns)
