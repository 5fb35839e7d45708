"""Weights in files: safetensors, and PyTorch's, of which no code is ever run."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
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
        >>> params, state = models.lenet5().init(jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(f"{folder}/lenet5.safetensors", params, state)
        ...     again, _ = load(f"{folder}/lenet5.safetensors", models.lenet5_spec())
        >>> jax.tree.all(jax.tree.map(jnp.array_equal, again, params))
        True
    """
    from safetensors.numpy import save_file

    path = Path(path)
    arrays = {
        name: np.ascontiguousarray(array).reshape(np.shape(array))
        for name, array in paths({"params": params, "state": {} if state is None else state}).items()
    }
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(arrays, part, metadata={"format": "jaxnets"})
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
    leaves = paths(spec)
    expected = {f"{'state' if leaf.is_state else 'params'}/{name}": leaf for name, leaf in leaves.items()}
    problems = [
        *(f"missing {name} {list(leaf.shape)}" for name, leaf in expected.items() if name not in arrays),
        *(f"unexpected {name} {list(array.shape)}" for name, array in arrays.items() if name not in expected),
        *(
            f"{name} must be {list(leaf.shape)}, got {list(arrays[name].shape)}"
            for name, leaf in expected.items()
            if name in arrays and arrays[name].shape != leaf.shape
        ),
    ]
    if problems:
        raise ValueError(f"{path}: the arrays do not fit the spec:\n  " + "\n  ".join(problems))
    return arrange(spec, {name.partition("/")[2]: array for name, array in arrays.items()})


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
