"""The file `metrics.jsonl`: one JSON object a line, appended while a run goes on."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from jaxnets.report.strict_json import NON_FINITE, dumps, write_atomically

SPLITS = ("train", "validation", "test")
_POSITION = ("step", "epoch", "split")


def append_metrics(
    path: str | os.PathLike[str], *, step: int, epoch: float, split: str, metrics: Mapping[str, Any]
) -> None:
    """Append one row to a metrics file: one write, on the operating system's side when this returns.

    If the file ends in a line that was cut off by a kill, that line is removed first.

    Args:
        path: the file; it is made if it is not there.
        step: optimizer steps done.
        epoch: epochs done.
        split: `"train"`, `"validation"` or `"test"`: what the metrics were measured on.
        metrics: numbers or arrays by name. NaN and infinities become `"NaN"`, `"Infinity"` and `"-Infinity"`, because
            JSON has no such numbers; `read_metrics` turns them back.

    Raises:
        ValueError: if the split is another, or a metric has the name of a column.
        TypeError: if a metric is neither a number nor an array of numbers.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     append_metrics(folder + "/m.jsonl", step=10, epoch=1, split="train", metrics={"loss": 0.5})
        ...     read_metrics(folder + "/m.jsonl")
        [{'step': 10, 'epoch': 1, 'split': 'train', 'loss': 0.5}]
    """
    if split not in SPLITS:
        raise ValueError(f"append_metrics: split must be one of {', '.join(SPLITS)}, got {split!r}")
    taken = [name for name in _POSITION if name in metrics]
    if taken:
        raise ValueError(f"append_metrics: {taken[0]!r} is a column of its own; give the metric another name")
    line = dumps({"step": step, "epoch": epoch, "split": split, **metrics}).encode() + b"\n"
    with open(path, "a+b") as file:
        _remove_torn_line(file)
        file.write(line)


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the rows of a metrics file.

    A row counts once its line feed is there. What follows the last one was cut off by a kill and is left out with a
    warning; any other line that is not a JSON object is an error.

    Args:
        path: the file.

    Returns:
        One dict a row with `step`, `epoch`, `split` and the metrics by name.

    Raises:
        ValueError: if a line is not a JSON object, with its number.

    Example:
        See `append_metrics`.
    """
    *lines, torn = Path(path).read_bytes().split(b"\n")
    if torn:
        warnings.warn(f"{path}: line {len(lines) + 1} was cut off and is left out", stacklevel=2)
    rows = _parse(path, lines)
    return [{name: value if name == "split" else _number(value) for name, value in row.items()} for row in rows]


def drop_metrics_after(path: str | os.PathLike[str], step: int) -> None:
    """Remove the rows of later steps, of the test split, and a torn one, so that a resumed run writes them again.

    The file is replaced in one go. Nothing happens if it is not there.

    Args:
        path: the file.
        step: the step from which the run goes on.

    Raises:
        ValueError: if a line is not a JSON object, with its number; the file stays as it is.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for step in (10, 20):
        ...         append_metrics(folder + "/m.jsonl", step=step, epoch=1, split="train", metrics={})
        ...     drop_metrics_after(folder + "/m.jsonl", 10)
        ...     read_metrics(folder + "/m.jsonl")
        [{'step': 10, 'epoch': 1, 'split': 'train'}]
    """
    if not Path(path).exists():
        return
    *lines, _ = Path(path).read_bytes().split(b"\n")
    rows = zip(lines, _parse(path, lines), strict=True)
    kept = [line.decode() + "\n" for line, row in rows if row["step"] <= step and row["split"] != "test"]
    write_atomically(Path(path), "".join(kept))


def _parse(path: str | os.PathLike[str], lines: list[bytes]) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}: line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}: line {number} must be a JSON object, got {type(row).__name__}")
        rows.append(row)
    return rows


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(child) for child in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def _remove_torn_line(file: BinaryIO) -> None:
    """Cut the file behind its last line feed; what follows is the beginning of a row."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
