"""Weights in files: safetensors, and PyTorch's, of which no code is ever run."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnets.spec import ArraySpec, Spec, assemble
from jaxnets.tree import paths
from jaxnets.types import Array, Params, State

_NESTED = ("state_dict", "model")


def save(path: str | os.PathLike[str], params: Params, state: State | None = None) -> None:
    """Write parameters and state into a `.safetensors` file, whole or not at all.

    Arrays are named by their paths, `params/fc/kernel` and `state/norm/mean`.

    Args:
        path: of the file; one that is there is replaced.
        params: a tree of arrays.
        state: a tree of arrays.

    Raises:
        ValueError: if a name holds a slash.

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
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
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


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read all arrays of a `.safetensors` file.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it is damaged or of another format.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or no safetensors file: {error}") from error


def read_torch(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the `state_dict` in a `.safetensors` file or in one that `torch.save` wrote, without running code from it.

    Args:
        path: of the file. Unless it ends in `.safetensors`, PyTorch has to be installed. Where the file holds more
            than a `state_dict`, the entry `state_dict` or `model` is taken.

    Returns:
        Names with numpy arrays, or CPU tensors.

    Raises:
        FileNotFoundError: if there is no file.
        ImportError: if PyTorch is needed and not there.
        ValueError: if the file is damaged, holds anything but tensors, or would have to run code.

    Example:
        >>> read_torch("resnet50.safetensors")
        Traceback (most recent call last):
        ...
        FileNotFoundError: there is no file resnet50.safetensors
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        import torch
    except ImportError as error:
        raise ImportError(
            f"reading {path.name} needs PyTorch: pip install torch, or save the weights as safetensors"
        ) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path} is damaged, or holds more than tensors, which is never loaded: {error}") from error
    for name in _NESTED:
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        raise ValueError(f"{path} must hold a state_dict, names with tensors; got {type(content).__name__}")
    return content
