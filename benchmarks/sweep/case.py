"""What each operation of the sweep says about itself, and how shapes are drawn."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Range = tuple[int, int]
Settings = dict[str, Any]
WORK = 2**29
"""The most multiplications forward; batches are made smaller, but not empty, to stay below."""


class Case(NamedTuple):
    """An operation of given shapes in each library.

    Attributes:
        shapes: of the arrays that it is differentiated by, in the layout of jaxnets.
        programs: by name, functions of these arrays that return one array; for names that start with `pytorch` the
            arrays are tensors in the layout of PyTorch.
        torch_axes: by name of an array, or `"y"` for the result, the order of axes that PyTorch has.
    """

    shapes: dict[str, tuple[int, ...]]
    programs: dict[str, Callable[..., Any]]
    torch_axes: dict[str, tuple[int, ...]]


class Operation(NamedTuple):
    """One map: an operation whose settings are drawn from the ranges of a row and of a column.

    Attributes:
        title: of the map.
        rows: by label.
        columns: by label.
        draw: `draw(row, column, generator)` returns settings.
        case: makes a case of settings.
    """

    title: str
    rows: Mapping[str, Any]
    columns: Mapping[str, Any]
    draw: Callable[[Any, Any, np.random.Generator], Settings]
    case: Callable[..., Case]


class Cell(NamedTuple):
    """A place in the map of an operation, and the settings drawn for it."""

    operation: str
    row: str
    column: str
    settings: Settings


def draw_cells(name: str, operation: Operation, seed: int) -> list[Cell]:
    """One cell for each row and column. Its settings depend on the seed and its place alone."""
    cells = []
    for row, of_row in operation.rows.items():
        for column, of_column in operation.columns.items():
            generator = np.random.default_rng([seed, zlib.crc32(f"{name}/{row}/{column}".encode())])
            cells.append(Cell(name, row, column, operation.draw(of_row, of_column, generator)))
    return cells


def draw_integer(within: Range, generator: np.random.Generator) -> int:
    """An integer from the range, both ends included, whose logarithm is about uniform."""
    first, last = within
    return min(last, int(math.exp(generator.uniform(math.log(first), math.log(last + 1)))))


def draw_batch(work: int, generator: np.random.Generator) -> int:
    """A batch of 1 to 64 examples that take `work` multiplications each."""
    return max(1, min(draw_integer((1, 64), generator), WORK // work))


def pairs(first: Mapping[str, Range], second: Mapping[str, Range]) -> dict[str, tuple[Range, Range]]:
    """Every label and range of the first with every one of the second."""
    return {f"{a}\n{b}": (first[a], second[b]) for a in first for b in second}


def ranges(*bounds: int) -> dict[str, Range]:
    """`ranges(1, 8, 32)` are 1 to 8 and 9 to 32."""
    starts = [bounds[0], *(bound + 1 for bound in bounds[1:-1])]
    return {f"{start}-{end}": (start, end) for start, end in zip(starts, bounds[1:], strict=True)}
