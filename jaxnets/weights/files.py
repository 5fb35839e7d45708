"""Weights in safetensors files."""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnets.errors import FileError
from jaxnets.extras import needed_for
from jaxnets.spec import ArraySpec, Spec, assemble
from jaxnets.tree import paths
from jaxnets.types import Array, Params, State


def save(path: str | os.PathLike[str], params: Params, state: State | None = None) -> None:
    """Write parameters and state into a `.safetensors` file, whole or not at all.

    Arrays are named by their paths, `params/fc/kernel` and `state/norm/mean`.

    Args:
        path: of the file; one that is there is replaced.
        params: a tree of arrays.
        state: a tree of arrays.

    Raises:
        ValueError: if a name holds a slash.
        FileNotFoundError: if there is no folder for it.

    Example:
        >>> import tempfile, jax, jax.numpy as jnp
        >>> from jaxnets import models
        >>> model = models.lenet5()
        >>> params, state = model.init(jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(f"{folder}/lenet5.safetensors", params, state)
        ...     again, _ = load(f"{folder}/lenet5.safetensors", model.spec)
        >>> jax.tree.all(jax.tree.map(jnp.array_equal, again, params))
        True
    """
    with needed_for("weights.save"):
        from safetensors.numpy import save_file

    arrays = {
        name: np.ascontiguousarray(array).reshape(np.shape(array)) for name, array in tree_arrays(params, state).items()
    }
    with whole_file(path) as part:
        save_file(arrays, part, metadata={"format": "jaxnets"})


def tree_arrays(params: Params, state: State | None) -> dict[str, Any]:
    """Name the arrays of parameters and state by their paths, as `save` does."""
    return paths({"params": params, "state": {} if state is None else state})


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give the path of a file to write to, which replaces `path` in the end, or is deleted on an error."""
    path = Path(path).expanduser()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent} for the file {path.name}; make it first")
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], spec: Spec) -> tuple[Params, State]:
    """Read what `save` wrote.

    Args:
        path: of the file.
        spec: of the network.

    Returns:
        `(params, state)`, in the dtypes of the file.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if the file is damaged, or an array is missing, not expected or of another shape; the message
            lists all of them. See `save` for an example.
    """
    arrays = read_safetensors(path)
    check_arrays(str(path), arrays, spec)
    return arrange(spec, {name.partition("/")[2]: array for name, array in arrays.items()})


def check_arrays(where: str, arrays: Mapping[str, Any], spec: Spec) -> None:
    """Raise a ValueError that lists all arrays, named as `save` does, that do not fit the spec."""
    leaves = paths(spec).items()
    expected = {f"{'state' if leaf.is_state else 'params'}/{name}": leaf.shape for name, leaf in leaves}
    if problems := misfits(arrays, expected):
        raise ValueError(f"{where}: the arrays do not fit the spec:\n  " + "\n  ".join(problems))


def misfits(arrays: Mapping[str, Any], expected: Mapping[str, tuple[int, ...]]) -> list[str]:
    """List the arrays that are missing, not expected, or of another shape.

    Example:
        >>> misfits({"a": np.zeros(2), "b": np.zeros(3)}, {"a": (4,), "c": (5, 6)})
        ['missing c [5, 6]', 'unexpected b [3]', 'a must be [4], got [2]']
    """
    shapes = {name: np.shape(array) for name, array in arrays.items()}
    return [
        *(f"missing {name} {list(shape)}" for name, shape in expected.items() if name not in shapes),
        *(f"unexpected {name} {list(shape)}" for name, shape in shapes.items() if name not in expected),
        *(
            f"{name} must be {list(shape)}, got {list(shapes[name])}"
            for name, shape in expected.items()
            if name in shapes and shapes[name] != shape
        ),
    ]


def arrange(spec: Spec, arrays: Mapping[str, Any]) -> tuple[Params, State]:
    """Put arrays, named by their paths in the spec, where `init` puts them."""

    def named(path: tuple[str | int, ...], leaf: ArraySpec) -> Array:
        array = jnp.asarray(arrays["/".join(map(str, path))])
        return array if leaf.dtype is None else array.astype(leaf.dtype)

    return assemble(spec, named)


_FLOAT8 = {
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}
"""The dtypes of safetensors that its reader for numpy does not know, as JAX names them."""
_MAX_NAME = 255  # bytes


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read all arrays of a `.safetensors` file, or of all files of an index, `.safetensors.index.json`.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it is damaged or of another format, or an array is of a dtype that JAX does not have.
    """
    with needed_for("weights.read_safetensors"):
        from safetensors import SafetensorError, safe_open

    path = Path(path).expanduser()
    if path.name.endswith(".index.json"):
        return read_shards(path, read_safetensors)
    check_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            header, start = _header(path)
            return {
                name: _read_float8(path, name, header[name], start)
                if re.match("F[468](_|$)", header[name]["dtype"])
                else file.get_tensor(name)
                for name in file.keys()  # noqa: SIM118  it is no dict
            }
    except SafetensorError as error:
        raise FileError(f"{path} is damaged or no safetensors file: {error}") from error


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """What a safetensors file says of its arrays, and where their bytes begin."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(size)), 8 + size


def _read_float8(path: Path, name: str, entry: Mapping[str, Any], start: int) -> np.ndarray[Any, Any]:
    if entry["dtype"] not in _FLOAT8:
        raise FileError(
            f"{path}: {name!r} is of the dtype {entry['dtype']}, which JAX does not have; convert it to another, such "
            "as BF16"
        )
    first, end = entry["data_offsets"]
    data = np.fromfile(path, np.uint8, count=end - first, offset=start + first)
    return data.view(_FLOAT8[entry["dtype"]]).reshape(entry["shape"])


def check_file(path: Path) -> None:
    """Raise FileNotFoundError if there is no file, and say so if its arrays are in several files."""
    if path.is_file():
        return
    index = path.with_name(f"{path.name}.index.json")
    advice = f"; its arrays are in several files, so read their index {index.name}" if index.is_file() else ""
    raise FileNotFoundError(f"there is no file {path}{advice}")


def read_shards(path: Path, read: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Read the arrays of all files that an index names, as Hugging Face's libraries write large networks.

    Args:
        path: of the index.
        read: reads one of the files.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: if the index is damaged, or does not fit its files.
    """
    check_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged: {error}") from error
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise FileError(
            f"{path} is no index of weights: it must hold 'weight_map', a file's name for each array's name"
        )
    arrays: dict[str, Any] = {}
    for file in sorted(set(places.values())):
        if Path(file).name != file or file.endswith(".index.json") or len(file.encode(errors="replace")) > _MAX_NAME:
            raise FileError(f"{path}: {file[:300]!r} must be the name of a file in the folder of the index")
        arrays |= read(path.with_name(file))
    if wrong := sorted(places.keys() ^ arrays.keys()):
        raise FileError(f"{path} does not fit its files: {', '.join(wrong[:5])} is only in one of them")
    return arrays
