"""Tables of numbers from CSV files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxnets.data.csv_cells import (
    Cells,
    Source,
    class_labels,
    column_of_numbers,
    finite_number,
    names_columns,
    one_hot_columns,
    read_rows,
)
from jaxnets.errors import FileError


class Table(NamedTuple):
    """A table with its target column separated.

    Attributes:
        inputs: float32 `[rows, columns]`.
        labels: int32 `[rows]`, indices into `classes`; for regression the targets, float32 `[rows]`.
        names: of the columns of `inputs`, from the header, or the columns' numbers; `color=red` of a category.
        classes: the distinct texts of the target column in order; empty for regression.
    """

    inputs: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    classes: tuple[str, ...]


class UnknownColumnError(ValueError):
    """No column has the name that was given."""


def read_csv(
    path: str | os.PathLike[str],
    target: str | int = -1,
    *,
    header: bool = True,
    columns: Sequence[str | int] | None = None,
    categories: Sequence[str | int] = (),
    regression: bool = False,
    delimiter: str = ",",
    decimal: str = ".",
    na_values: Sequence[str] = (),
) -> Table:
    r"""Read a table of numbers whose target column holds classes or, for regression, numbers.

    Classes are the texts of the cells: `7`, `007` and `7.0` are three. They are numbered 0, 1, ... in numeric order if
    all are whole numbers, else in alphabetical order. The file is UTF-8 with quotes where needed; a byte-order mark,
    Windows line ends, a missing last line end and empty lines at the end are accepted.

    Args:
        path: the file.
        target: the column to predict, by its name in the header or by its number; -1 is the last one.
        header: whether the first line names the columns.
        columns: the columns of the inputs, by name or number; by default all except the target.
        categories: those of them that hold categories, such as colors. Each becomes one column of 0 and 1 for each of
            the categories in this file, in their order.
        regression: whether the target is a number to predict, not a class.
        delimiter: the separator of the cells.
        decimal: the sign before the decimals of a number, "." or ",".
        na_values: the texts of missing cells, such as `("", "NA")`. A missing input is NaN, a missing category 0 in all
            its columns, and a missing target an error. Without them every missing cell is an error.

    Returns:
        A `Table`; `make_data_set(table.inputs, table.labels, classes=table.classes)` splits it.

    Raises:
        ValueError: if the file is empty, a row is longer or shorter than the first, a cell is not a finite number, or a
            column does not exist; the error names line and column. Also if the first line is to name the columns but
            holds an example: if its numbers are names, such as years, give the target by its name.
        TypeError: if names or texts are not in a sequence of strings.

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
        text = Path(path).expanduser().read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise FileError(f"{path}, line {line}: the text is not UTF-8: {error}") from error
    return parse_csv(
        text,
        target,
        header=header,
        columns=columns,
        categories=categories,
        regression=regression,
        delimiter=delimiter,
        decimal=decimal,
        na_values=na_values,
        name=os.fspath(path),
    )


def parse_csv(
    text: str,
    target: str | int = -1,
    *,
    header: bool = True,
    columns: Sequence[str | int] | None = None,
    categories: Sequence[str | int] = (),
    regression: bool = False,
    delimiter: str = ",",
    decimal: str = ".",
    na_values: Sequence[str] = (),
    name: str = "the CSV text",
) -> Table:
    r"""Parse the text of a CSV file; see `read_csv`.

    Args:
        text: the file's text.
        target: the column to predict.
        header: whether the first line names the columns.
        columns: the columns of the inputs.
        categories: those of them that hold categories.
        regression: whether the target is a number to predict.
        delimiter: the separator of the cells.
        decimal: the sign before the decimals of a number.
        na_values: the texts of missing cells.
        name: name of the text in errors.

    Returns:
        A `Table`.

    Raises:
        ValueError: as `read_csv`.
        TypeError: as `read_csv`.

    Example:
        >>> parse_csv("1,2,0\n3,4,1\n", header=False).inputs
        array([[1., 2.],
               [3., 4.]], dtype=float32)
        >>> text = "color;weight;kind\nred;1,5;a\nblue;NA;b\n"
        >>> table = parse_csv(text, delimiter=";", decimal=",", categories=["color"], na_values=["NA"])
        >>> table.names, table.inputs.tolist()
        (('color=blue', 'color=red', 'weight'), [[0.0, 1.0, 1.5], [1.0, 0.0, nan]])
    """
    _check_options(columns, categories, na_values, delimiter, decimal)
    source = Source(name, decimal, frozenset(na_values))
    rows = read_rows(text.removeprefix("\ufeff"), delimiter, name)  # a byte-order mark
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
        raise FileError(f"{name} has a header but no rows")
    label_column = _column(target, names, header, name)
    everything_else = [i for i in range(width) if i != label_column]
    inputs = everything_else if columns is None else [_column(column, names, header, name) for column in columns]
    coded = [_column(column, names, header, name) for column in categories]
    is_named = any(isinstance(column, str) for column in (target, *(columns or ()), *categories))
    if header and not is_named:
        numeric = [i for i in inputs if i not in coded]
        _check_header(source, names, [cells for _, cells in rows], numeric, label_column, coded)
    _check_columns(names, label_column, inputs, coded, name)
    parts = [_input(source, _cells(rows, i), names[i], is_category=i in coded) for i in inputs]
    array = np.concatenate([np.empty((len(rows), 0), np.float32), *(part for part, _ in parts)], axis=1)
    labels, classes = _targets(source, _cells(rows, label_column), names[label_column], regression)
    return Table(array, labels, tuple(column for _, columns in parts for column in columns), classes)


def _check_options(
    columns: Sequence[str | int] | None,
    categories: Sequence[str | int],
    na_values: Sequence[str],
    delimiter: str,
    decimal: str,
) -> None:
    for option, value in (("columns", columns), ("categories", categories), ("na_values", na_values)):
        if isinstance(value, str):
            raise TypeError(f"{option} must be a sequence; write {option}=[{value!r}]")
    if wrong := [value for value in na_values if not isinstance(value, str)]:
        raise TypeError(f"na_values are the texts of missing cells; write {str(wrong[0])!r} for {wrong[0]!r}")
    if decimal not in (".", ","):
        raise ValueError(f"decimal must be '.' or ',', got {decimal!r}")
    if decimal == delimiter:
        raise ValueError(f"{decimal!r} cannot be both delimiter and decimal; write delimiter=';' if that is the file's")


def _check_header(
    source: Source,
    names: Sequence[str],
    rows: Sequence[Sequence[str]],
    numeric: Sequence[int],
    label_column: int,
    coded: Sequence[int],
) -> None:
    """Raise ValueError if the first line does not look like names."""
    if names_columns(source, names, rows, numeric, [label_column, *coded]):
        return
    raise ValueError(
        f"{source.name}: the first line holds numbers; if it names no columns, write header=False, and if they are "
        f"names, give the target by its name, target={names[label_column]!r}"
    )


def _check_columns(
    names: Sequence[str], label_column: int, inputs: Sequence[int], coded: Sequence[int], name: str
) -> None:
    if label_column in inputs:
        raise ValueError(f"{name}: the target {names[label_column]!r} must not be among the inputs")
    for i in coded:
        if i not in inputs:
            raise ValueError(f"{name}: the categories {names[i]!r} must be among the inputs")


def _cells(rows: Sequence[tuple[int, Sequence[str]]], column: int) -> Cells:
    return [(line, cells[column]) for line, cells in rows]


def _input(source: Source, cells: Cells, column: str, *, is_category: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """What a column of the file becomes, float32 `[rows, columns]`, and the names of these columns."""
    if is_category:
        return one_hot_columns(source, cells, column)
    return column_of_numbers(source, cells, column)[:, None], (column,)


def _targets(source: Source, cells: Cells, column: str, regression: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels and the names of their classes, or the targets of a regression."""
    if not regression:
        return class_labels(source, cells, column)
    return np.array([finite_number(source, cell, line, column) for line, cell in cells], np.float32), ()


def _column(column: str | int, names: Sequence[str], header: bool, name: str) -> int:
    """The index of a column given by name or number."""
    if isinstance(column, str):
        if not header or column not in names:
            known = ", ".join(map(repr, names)) if header else "none, for header=False"
            raise UnknownColumnError(f"{name}: no column is named {column!r}; the names are {known}")
        return names.index(column)
    if not -len(names) <= column < len(names):
        raise ValueError(f"{name}: there is no column {column}, the file has {len(names)}")
    return column % len(names)
