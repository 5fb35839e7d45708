"""Files of weights that PyTorch wrote, of which no code is ever run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxnets.errors import FileError
from jaxnets.extras import needed_for
from jaxnets.weights.files import check_file, read_safetensors, read_shards
from jaxnets.weights.torch_pickle import load_torch

_USUAL = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema")
"""The usual names of the entry of a file that holds the network, the first of them that is there is taken."""


def read_torch(path: str | os.PathLike[str], *, entry: str | None = None) -> dict[str, Any]:
    """Read the `state_dict` in a `.safetensors` file or in one that `torch.save` wrote, without running code from it.

    Args:
        path: of the file. Unless it ends in `.safetensors`, PyTorch has to be installed. Of a network in several files
            it is that of the index, `model.safetensors.index.json`.
        entry: which entry to take of a file of `torch.save` that holds more than a `state_dict`, such as
            `"state_dict_ema"`. None takes the only `state_dict` in it, or the first of the entries `state_dict`,
            `model`, `model_state_dict`, `state_dict_ema` and `model_ema`.

    Returns:
        Names with numpy arrays, or CPU tensors.

    Raises:
        FileNotFoundError: if there is no file.
        ImportError: if PyTorch is needed and not there.
        ValueError: if the file is damaged, holds no `state_dict` or several, or would have to run code; the message
            lists its entries.

    Example:
        >>> read_torch("resnet50.safetensors")
        Traceback (most recent call last):
        ...
        FileNotFoundError: there is no file resnet50.safetensors
    """
    path = Path(path).expanduser()
    if path.name.endswith(".index.json"):
        return read_shards(path, read_torch)
    if path.suffix == ".safetensors":
        if entry is not None:
            raise ValueError(f"{path}: a safetensors file has no entries but its arrays; leave out entry={entry!r}")
        return read_safetensors(path)
    check_file(path)
    with needed_for(f"reading {path.name}, which is no safetensors file,"):
        import torch
    state_dict = _state_dict(load_torch(path), torch.Tensor, path, entry)
    for name, tensor in state_dict.items():
        if not isinstance(name, str) or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise FileError(f"{path} must hold names with plain tensors, got {name!r} with a {tensor.type()}")
    return state_dict


def _state_dict(content: Any, tensor: type, path: Path, entry: str | None) -> dict[str, Any]:
    """The `state_dict` in what `torch.load` returned."""

    def is_state_dict(value: Any) -> bool:
        return isinstance(value, dict) and all(isinstance(leaf, tensor) for leaf in value.values())

    if entry is not None:
        if not isinstance(content, dict) or entry not in content:
            raise ValueError(f"{path} has no entry {entry!r}; it holds {_listed(content)}")
        content = content[entry]
    try:
        found = _find(content, is_state_dict)
    except RecursionError as error:
        raise FileError(f"{path} is damaged: it holds a dict that holds itself") from error
    if found is not None:
        return found
    raise FileError(
        f"{path} must hold a state_dict, names with tensors; got {_listed(content)}. If one of several entries is the "
        "network, write read_torch(path, entry=...)"
    )


def _find(content: Any, is_state_dict: Callable[[Any], bool]) -> dict[str, Any] | None:
    """The content if it is a `state_dict`, else that in an entry with a usual name, else the only one among entries."""
    if not isinstance(content, dict) or is_state_dict(content):
        return dict(content) if isinstance(content, dict) else None
    for name in _USUAL:
        if (
            isinstance(content.get(name), dict)
            and content[name]
            and (found := _find(content[name], is_state_dict)) is not None
        ):
            return found
    others = [value for value in content.values() if is_state_dict(value) and value]
    return dict(others[0]) if len(others) == 1 else None


def _listed(content: Any) -> str:
    """A short list of what is in a file."""
    if not isinstance(content, dict):
        return type(content).__name__
    entries = [
        f"{name!r} ({type(value).__name__}{f' of {len(value)}' if isinstance(value, dict | list) else ''})"
        for name, value in content.items()
    ]
    more = f", ... ({len(entries)} entries)" if len(entries) > 20 else ""
    return f"a dict of {', '.join(entries[:20])}{more}"
