"""Networks as StableHLO: one file that any JAX can run, without this library."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.export

from jaxnets.errors import FileError
from jaxnets.extras import require
from jaxnets.model import Model
from jaxnets.types import Params, PyTree, State
from jaxnets.weights.files import whole_file

PLATFORMS = ("cpu", "cuda", "tpu")


def export_model(
    path: str | os.PathLike[str],
    model: Model,
    params: Params,
    state: State,
    inputs: PyTree,
    *,
    platforms: Sequence[str] = PLATFORMS,
    any_batch: bool = True,
) -> None:
    """Write what a model computes in evaluation, its weights included, into a file.

    To run it where this library is not installed:

        function = jax.export.deserialize(bytearray(pathlib.Path(path).expanduser().read_bytes())).call
        outputs = function(inputs)

    Args:
        path: of the file; one that is there is replaced, whole or not at all.
        model: the network.
        params: its parameters.
        state: its state.
        inputs: an input batch, or `jax.ShapeDtypeStruct`s of one.
        platforms: what it shall run on, of `"cpu"`, `"cuda"`, `"rocm"` and `"tpu"`.
        any_batch: whether the first axis of all inputs may have any size; else it has that of `inputs`.

    Raises:
        ValueError: if an input has no axis for the batch.

    Example:
        >>> import tempfile
        >>> import jax.numpy as jnp
        >>> from jaxnets import models
        >>> model = models.lenet5()
        >>> params, state = model.init(jax.random.key(0))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_model(f"{folder}/lenet5.stablehlo", model, params, state, jnp.zeros((1, 28, 28, 1)))
        ...     load_exported(f"{folder}/lenet5.stablehlo")(jnp.ones((5, 28, 28, 1))).shape
        (5, 10)
    """
    require("weights.export_model", "flatbuffers")
    exported = jax.export.export(jax.jit(lambda x: model.apply(params, state, x, train=False)[0]), platforms=platforms)(
        _with_any_batch(inputs) if any_batch else inputs
    )
    with whole_file(path) as part:
        part.write_bytes(exported.serialize())


def _with_any_batch(inputs: PyTree) -> PyTree:
    """The shapes of inputs with a symbol for the first axis."""
    (batch,) = jax.export.symbolic_shape("batch")

    def described(leaf: Any) -> jax.ShapeDtypeStruct:
        if not leaf.shape:
            raise ValueError("export_model: an input has no axes, so no batch; write any_batch=False")
        return jax.ShapeDtypeStruct((batch, *leaf.shape[1:]), leaf.dtype)

    return jax.tree.map(described, inputs)


def load_exported(path: str | os.PathLike[str]) -> Any:
    """Read what `export_model` wrote.

    Args:
        path: of the file.

    Returns:
        A function of the inputs, which `jax.jit` and other transformations but derivatives accept.

    Raises:
        FileNotFoundError: if there is no file.
        ValueError: if it is damaged or no such file. See `export_model` for an example.
    """
    require("weights.load_exported", "flatbuffers")
    content = Path(path).expanduser().read_bytes()
    try:
        return jax.export.deserialize(bytearray(content)).call
    except Exception as error:  # the reader of flatbuffers raises whatever comes
        raise FileError(f"{path} is damaged or was not written by export_model: {error}") from error
