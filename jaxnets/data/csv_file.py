"""Tables of numbers from CSV files."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

MAX_FLOAT32 = float(np.finfo(np.float32).max)


class Table(NamedTuple):
    """A table with its target column separated.

    Attributes:
        inputs: float32 `[rows, columns]`.
        labels: int32 `[rows]`, indices into `classes`; for regression the targets, float32 `[rows]`.
        names: of the columns of `inputs`, from the header, or the columns' numbers.
        classes: the distinct values of the target column in order; empty for regression.
    """

    inputs: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    classes: tuple[str, ...]


def read_csv(
    path: str | os.PathLike[str],
    target: str | int = -1,
    *,
    header: bool = True,
    columns: Sequence[str | int] | None = None,
    regression: bool = False,
    delimiter: str = ",",
) -> Table:
    r"""Read a table of numbers whose target column holds classes or, for regression, numbers.

    Classes may be integers or strings; they are numbered 0, 1, ... in numeric or alphabetical order. The file is UTF-8
    with quotes where needed; a byte-order mark, Windows line ends, a missing last line end and empty lines at the end
    are accepted.

    Args:
        path: the file.
        target: the column to predict, by its name in the header or by its number; -1 is the last one.
        header: whether the first line names the columns.
        columns: the columns of the inputs, by name or number; by default all except the target.
        regression: whether the target is a number to predict, not a class.
        delimiter: the separator of the cells.

    Returns:
        A `Table`; `make_data_set(table.inputs, table.labels, classes=table.classes)` splits it.

    Raises:
        ValueError: if the file is empty, a row is longer or shorter than the first, a cell is not a finite number, or a
            column does not exist; the error names line and column.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "flowers.csv"
        ...     _ = file.write_text("length,width,kind\n5.1,3.5,setosa\n6.3,3.3,virginica\n")
        ...     table = read_csv(file, target="kind")
        >>> table.inputs.shape, table.labels, table.classes
        ((2, 2), array([0, 1], dtype=int32), ('setosa', 'virginica'))
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a UTF-8 text file: {error}") from error
    return parse_csv(
        text,
        target,
        header=header,
        columns=columns,
        regression=regression,
        delimiter=delimiter,
        name=os.fspath(path),
    )


def parse_csv(
    text: str,
    target: str | int = -1,
    *,
    header: bool = True,
    columns: Sequence[str | int] | None = None,
    regression: bool = False,
    delimiter: str = ",",
    name: str = "the CSV text",
) -> Table:
    r"""Parse the text of a CSV file; see `read_csv`.

    Args:
        text: the file's text.
        target: the column to predict.
        header: whether the first line names the columns.
        columns: the columns of the inputs.
        regression: whether the target is a number to predict.
        delimiter: the separator of the cells.
        name: name of the text in errors.

    Returns:
        A `Table`.

    Raises:
        ValueError: as `read_csv`.

    Example:
        >>> parse_csv("1,2,0\n3,4,1\n", header=False).inputs
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """
    rows = _rows(text, delimiter, name)
    width = len(rows[0][1])
    if width == 1 and columns is None:
        raise ValueError(
            f"{name} has only one column, {rows[0][1][0]!r}; is the delimiter another one, such as delimiter=';'? "
            "A table without inputs is read with columns=[]"
        )
    names = tuple(cell.strip() for cell in rows[0][1]) if header else tuple(map(str, range(width)))
    if header:
        if len(set(names)) < width:
            raise ValueError(f"{name}: column names must be different, got {', '.join(map(repr, names))}")
        rows = rows[1:]
    if not rows:
        raise ValueError(f"{name} has a header but no rows")
    label_column = _column(target, names, header, name)
    chosen = [_column(column, names, header, name) for column in columns] if columns is not None else None
    inputs = [i for i in range(width) if i != label_column] if chosen is None else chosen
    named = [names[i] for i in inputs] or list(names)
    counted = names == tuple(map(str, range(width)))  # the header that pandas writes for columns without names
    if header and not counted and all(_number(cell) is not None for cell in named):
        raise ValueError(f"{name}: the first line holds numbers; if it names no columns, write header=False")
    if label_column in inputs:
        raise ValueError(f"{name}: the target {names[label_column]!r} must not be among the inputs")
    values = [[_finite(cells[i], line, names[i], name) for i in inputs] for line, cells in rows]
    array = np.array(values, np.float32).reshape(len(rows), len(inputs))
    targets = [(line, cells[label_column]) for line, cells in rows]
    labels, classes = _targets(targets, names[label_column], regression, name)
    return Table(array, labels, tuple(names[i] for i in inputs), classes)


def _rows(text: str, delimiter: str, name: str) -> list[tuple[int, list[str]]]:
    """The cells of each row with its line number; all rows have the same number of cells."""
    rows = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise ValueError(f"{name}, line {reader.line_num}: {error}") from error
    while rows and not rows[-1][1]:
        rows.pop()
    if not rows:
        raise ValueError(f"{name} is empty")
    width = len(rows[0][1])
    if width == 0:
        raise ValueError(f"{name}, line {rows[0][0]} is empty; remove it")
    for line, cells in rows:
        if len(cells) != width or not cells:
            raise ValueError(f"{name}, line {line}: {len(cells)} cells where the first line has {width}")
    return rows


def _column(column: str | int, names: Sequence[str], header: bool, name: str) -> int:
    """The index of a column given by name or number."""
    if isinstance(column, str):
        if not header or column not in names:
            known = ", ".join(map(repr, names)) if header else "none, for header=False"
            raise ValueError(f"{name}: no column is named {column!r}; the names are {known}")
        return names.index(column)
    if not -len(names) <= column < len(names):
        raise ValueError(f"{name}: there is no column {column}, the file has {len(names)}")
    return column % len(names)


def _number(cell: str) -> float | None:
    """The number in a cell, or None. Unlike Python, 1_000 and digits of other scripts are not numbers."""
    if "_" in cell or not cell.isascii():
        return None
    try:
        return float(cell)
    except ValueError:
        return None


def _finite(cell: str, line: int, column: str, name: str) -> float:
    number = _number(cell)
    if number is None or not math.isfinite(number) or abs(number) > MAX_FLOAT32:
        hint = "; if the first line names the columns, write header=True" if line == 1 and number is None else ""
        raise ValueError(f"{name}, line {line}, column {column!r}: expected a finite number, got {cell!r}{hint}")
    return number


def _targets(
    cells: Sequence[tuple[int, str]], column: str, regression: bool, name: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and the names of their classes, or the targets of a regression."""
    if regression:
        return np.array([_finite(cell, line, column, name) for line, cell in cells], np.float32), ()
    texts = []
    for line, cell in cells:
        text, number = cell.strip(), _number(cell)
        if not text or (number is not None and not number.is_integer()):
            raise ValueError(
                f"{name}, line {line}, column {column!r}: {cell!r} is not a class; for a number to predict write "
                "regression=True"
            )
        texts.append(text if number is None else str(int(number)))
    numeric = all(_number(text) is not None for text in texts)
    classes = tuple(sorted(set(texts), key=int if numeric else None))
    index = {text: i for i, text in enumerate(classes)}
    return np.array([index[text] for text in texts], np.int32), classes
