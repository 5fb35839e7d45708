"""Strict JSON, which every reader accepts: NaN and infinities are written as strings."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""The strings for nonfinite numbers; Python's `float` accepts them too."""


def dumps(value: Any, *, indent: int | None = None) -> str:
    """Write a value as strict JSON.

    Args:
        value: numbers, strings, None, mappings with string keys, lists, tuples, dataclasses, paths and arrays (nested
            lists). Nonfinite numbers become the strings `"NaN"`, `"Infinity"` and `"-Infinity"`.
        indent: spaces per level; None writes one line.

    Raises:
        TypeError: for other values, with their position.

    Example:
        >>> dumps({"loss": float("nan"), "counts": np.eye(2, dtype=int)})
        '{"loss": "NaN", "counts": [[1, 0], [0, 1]]}'
    """
    return json.dumps(_plain(value, ""), indent=indent, allow_nan=False)


def _plain(value: Any, place: str) -> Any:
    """The same value made of types that `json` accepts."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        wrong = [name for name in value if not isinstance(name, str)]
        if wrong:
            raise TypeError(f"JSON needs strings as keys, got {wrong[0]!r} in {place or 'the value'}")
        return {name: _plain(child, f"{place}.{name}" if place else name) for name, child in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(child, f"{place}[{i}]") for i, child in enumerate(value)]
    if any(jnp.issubdtype(getattr(value, "dtype", object), kind) for kind in (np.bool_, np.integer, np.floating)):
        return _plain(_python_numbers(np.asarray(value)), place)
    raise TypeError(
        f"{place or 'the value'} cannot be written as JSON: {type(value).__name__}; write a number or a string"
    )


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _python_numbers(array: np.ndarray[Any, Any]) -> Any:
    """Numbers or nested lists of them; float32 0.1 becomes 0.1, not 0.10000000149011612."""
    if array.dtype.kind in "biu":
        return array.tolist()
    single = array.astype(np.float32) if array.dtype.itemsize < 4 else array
    return single.astype(str).astype(np.float64).tolist()


def read_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it holds anything else, as when it is damaged.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder) / "config.json", dumps({"seed": 3}))
        ...     read_object(Path(folder) / "config.json")
        {'seed': 3}
    """
    try:
        content = json.loads(path.read_bytes().decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: {error}; expected a JSON object") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: expected a JSON object, got {type(content).__name__}")
    return content


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is complete or absent, even if the process is killed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_atomically(Path(folder) / "result.json", "{}")
        ...     [file.name for file in Path(folder).iterdir()]
        ['result.json']
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
