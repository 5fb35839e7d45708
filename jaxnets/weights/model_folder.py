"""A trained network in a folder: its config and its arrays, of which it is made again."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jaxnets
from jaxnets.config import ModelConfig
from jaxnets.errors import FileError
from jaxnets.folder_lock import one_writer
from jaxnets.model import Model
from jaxnets.models import ARCHITECTURES
from jaxnets.types import Params, State
from jaxnets.weights.files import check_arrays, load, save, tree_arrays, whole_file

_CONFIG = "config.json"
_WEIGHTS = re.compile(r"weights-([0-9a-f]{8})\.safetensors")


def save_model(folder: str | os.PathLike[str], model: Model, params: Params, state: State | None = None) -> None:
    """Write a network into a folder, from which `load_model` makes it again.

    The folder holds `config.json`, with the name of the config's class, its fields and the version of this library, and
    a `.safetensors` file of the arrays, whose name ends in its checksum. A network that was there is replaced, and
    stays whole until the new one is; other files stay. Of several that save at once, one waits for the other.

    Args:
        folder: where to; it is made if it is not there.
        model: the network, made of a config.
        params: its parameters.
        state: its state.

    Raises:
        TypeError: if the model has no config.
        ValueError: if the parameters or the state are not those of the model.

    Example:
        >>> import tempfile, jax, jax.numpy as jnp
        >>> from jaxnets import models
        >>> model = models.mlp(models.MLPConfig((4, 8, 3), activation="tanh"))
        >>> params, state = model.init(jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_model(folder, model, params, state)
        ...     again, params, state = load_model(folder)
        >>> again.config
        MLPConfig(sizes=(4, 8, 3), activation='tanh', norm=False, dropout_rate=0.0, residual=False)
    """
    config = model.config
    if not isinstance(config, ModelConfig):
        raise TypeError(
            "save_model: the model has no config; make it by make_model(spec, apply, config), with a config of a "
            "subclass of jaxnets.config.ModelConfig, or write its arrays alone by weights.save(path, params, state)"
        )
    check_arrays("save_model", tree_arrays(params, state), model.spec)
    folder = Path(folder).expanduser()
    content = {"jaxnets": jaxnets.__version__, "architecture": type(config).__name__, "config": config.to_dict()}
    folder.mkdir(parents=True, exist_ok=True)
    with one_writer(folder):
        _replace(folder, content, params, state)


def _replace(folder: Path, content: Mapping[str, Any], params: Params, state: State | None) -> None:
    """Write the arrays, then the config that names them, then take away what it named before."""
    unnamed = folder / f".{os.getpid()}.safetensors"
    try:
        save(unnamed, params, state)
        weights = f"weights-{_checksum(unnamed)}.safetensors"
        os.replace(unnamed, folder / weights)
    finally:
        unnamed.unlink(missing_ok=True)
    with whole_file(folder / _CONFIG) as part:  # which makes the new network the one of the folder
        part.write_text(json.dumps({**content, "weights": weights}, indent=2) + "\n", encoding="utf-8")
    for path in folder.iterdir():
        if _WEIGHTS.fullmatch(path.name) and path.name != weights:
            path.unlink(missing_ok=True)


def load_model(
    folder: str | os.PathLike[str], *, architectures: Mapping[type[ModelConfig], Callable[[Any], Model]] | None = None
) -> tuple[Model, Params, State]:
    """Make the network that `save_model` wrote.

    Args:
        folder: that of `save_model`.
        architectures: of networks of your own, the function that makes one, by the class of its config:
            `{MyConfig: my_network}`.

    Returns:
        `(model, params, state)`, the arrays in the dtypes in which they were written. See `save_model` for an example.

    Raises:
        FileNotFoundError: if there is no network in the folder, or its arrays are missing.
        ValueError: if a file is damaged, the architecture is unknown, or it has not the fields of the config, as when
            a newer version of this library wrote it.
    """
    folder = Path(folder).expanduser()
    content = _read_config(folder / _CONFIG)
    versions = f"{folder / _CONFIG}, written by jaxnets {content['jaxnets']} (this is {jaxnets.__version__})"
    known = {config.__name__: (config, make) for config, make in {**ARCHITECTURES, **(architectures or {})}.items()}
    name = content["architecture"]
    if name not in known:
        raise ValueError(
            f"{versions}: the architecture {name!r} is none of {', '.join(sorted(known))}; if it is your own, pass "
            f"architectures={{{name}: the function that makes its model}}"
        )
    config_class, make = known[name]
    try:
        model = make(config_class.from_dict(content["config"]))
    except (TypeError, ValueError) as error:
        raise FileError(f"{versions}: {error}") from error
    try:
        params, state = _read_weights(folder, content["weights"], model)
    except FileNotFoundError:
        if _read_config(folder / _CONFIG) == content:
            raise
        return load_model(folder, architectures=architectures)  # another network was saved since
    return model, params, state


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"there is no network in {path.parent}: {path.name} is missing; save_model writes one")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged: {error}") from error
    expected = {"jaxnets": str, "architecture": str, "config": dict, "weights": str}
    if not isinstance(content, dict) or any(not isinstance(content.get(k), kind) for k, kind in expected.items()):
        raise FileError(f"{path} is damaged or was not written by save_model: it must hold {', '.join(expected)}")
    return content


def _read_weights(folder: Path, name: str, model: Model) -> tuple[Params, State]:
    path, checksum = folder / name, _WEIGHTS.fullmatch(name)
    if checksum is None:
        raise FileError(f"{folder / _CONFIG} is damaged: {name!r} is no name of a file of save_model")
    if path.is_file() and _checksum(path) != checksum[1]:
        raise FileError(f"{path} is damaged: its checksum is not that in its name")
    return load(path, model.spec)


def _checksum(path: Path) -> str:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            checksum = zlib.crc32(chunk, checksum)
    return f"{checksum:08x}"
