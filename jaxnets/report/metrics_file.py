"""The file `metrics.jsonl`: one JSON object per line, appended during a run."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from jaxnets.report.strict_json import NON_FINITE, dumps, write_atomically

SPLITS = ("train", "validation", "test")
_POSITION: Mapping[str, Any] = {"step": (int, float), "epoch": (int, float), "split": str}


def append_metrics(
    path: str | os.PathLike[str], *, step: int, epoch: float, split: str, metrics: Mapping[str, Any]
) -> None:
    """Append one row to a metrics file in one write, which survives a kill of the process.

    If the file ends in an incomplete line, because a process was killed, that line is removed first.

    Args:
        path: the file; it is created if missing.
        step: completed optimizer steps.
        epoch: completed epochs.
        split: `"train"`, `"validation"` or `"test"`, of the metrics.
        metrics: numbers or arrays by name. NaN and infinities become `"NaN"`, `"Infinity"` and `"-Infinity"`, because
            JSON has no such numbers; `read_metrics` converts them back.

    Raises:
        ValueError: if the split is unknown, or a metric has the name of a column.
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
        raise ValueError(f"append_metrics: {taken[0]!r} is the name of a column; give the metric another name")
    line = dumps({"step": step, "epoch": epoch, "split": split, **metrics}).encode() + b"\n"
    with Path(path).expanduser().open("a+b") as file:
        _remove_torn_line(file)
        file.write(line)


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read the rows of a metrics file.

    A row is complete when it ends in a line feed. An incomplete last row is skipped with a warning; any other line that
    is not a row of `append_metrics` is an error.

    Args:
        path: the file.

    Returns:
        One dict per row with `step`, `epoch`, `split` and the metrics by name.

    Raises:
        ValueError: if a line is not a JSON object with `step`, `epoch` and `split`, with its number.

    Example:
        See `append_metrics`.
    """
    *lines, torn = Path(path).expanduser().read_bytes().split(b"\n")
    if torn:
        warnings.warn(f"{path}: line {len(lines) + 1} is incomplete and was skipped", stacklevel=2)
    return _parse(path, lines)


def drop_metrics_after(path: str | os.PathLike[str], step: int) -> None:
    """Remove rows of later steps, of the test split, and an incomplete row, which a resumed run writes again.

    The file is replaced atomically. A missing file is ignored.

    Args:
        path: the file.
        step: the step from which the run resumes.

    Raises:
        ValueError: if a line is not a JSON object with `step`, `epoch` and `split`, with its number; the file is not
            changed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for step in (10, 20):
        ...         append_metrics(folder + "/m.jsonl", step=step, epoch=1, split="train", metrics={})
        ...     drop_metrics_after(folder + "/m.jsonl", 10)
        ...     read_metrics(folder + "/m.jsonl")
        [{'step': 10, 'epoch': 1, 'split': 'train'}]
    """
    if not Path(path).expanduser().exists():
        return
    *lines, _ = Path(path).expanduser().read_bytes().split(b"\n")
    rows = zip(lines, _parse(path, lines), strict=True)
    kept = [line.decode() + "\n" for line, row in rows if row["step"] <= step and row["split"] != "test"]
    write_atomically(Path(path).expanduser(), "".join(kept))


def _parse(path: str | os.PathLike[str], lines: list[bytes]) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = _row(json.loads(line.decode()))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: line {number} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ValueError(f"{path}: line {number} must be a JSON object, got {type(row).__name__}")
        if wrong := [name for name, kinds in _POSITION.items() if not _is(row.get(name), kinds)]:
            raise ValueError(
                f"{path}: line {number} must have numbers step and epoch and a string split, as append_metrics writes "
                f"them, got {', '.join(f'{name} {row[name]!r}' if name in row else f'no {name}' for name in wrong)}"
            )
        rows.append(row)
    return rows


def _row(value: Any) -> Any:
    """A row with the numbers that JSON lacks."""
    if not isinstance(value, dict):
        return value
    return {name: child if name == "split" else _number(child) for name, child in value.items()}


def _is(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _number(value: Any) -> Any:
    if isinstance(value, list):
        return [_number(child) for child in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value


def _remove_torn_line(file: BinaryIO) -> None:
    """Truncate the file after its last line feed; an incomplete row may follow."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
