"""Checkpoints of a train state, written by orbax."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.training.checkpoints import restore_target
from jaxnets.training.state import TrainState


def save_checkpoint(path: str | os.PathLike[str], train_state: TrainState) -> None:
    """Write a train state into a new folder; the folder appears only when everything is in it.

    Typed PRNG keys are stored as their data.

    Args:
        path: the folder to make.
        train_state: the state to write.

    Raises:
        ValueError: if the folder exists.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> state = TrainState.create({"w": jnp.ones(2)}, (), seed=0, step=3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(folder + "/last", state)
        ...     int(load_checkpoint(folder + "/last", like=state).step)
        3
    """
    import orbax.checkpoint as ocp

    target = Path(path).absolute()
    if target.exists():
        raise ValueError(f"save_checkpoint: {path} exists; choose another folder or delete it")
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(target, _without_keys(train_state))


def load_checkpoint(path: str | os.PathLike[str], *, like: TrainState) -> TrainState:
    """Read a train state that `save_checkpoint` wrote.

    Args:
        path: the folder.
        like: a train state of the same structure, such as a fresh one, or `jax.eval_shape` of it. The stored one is put
            on the devices where it lies.

    Returns:
        The stored state, bit for bit.

    Raises:
        FileNotFoundError: if there is no checkpoint at `path`.
        ValueError: if its structure or shapes differ from `like`.

    Example:
        See `save_checkpoint`.
    """
    import orbax.checkpoint as ocp

    source = Path(path).absolute()
    if not source.is_dir():
        raise FileNotFoundError(f"load_checkpoint: no checkpoint at {path}")
    target = restore_target(_without_keys(like))
    with ocp.StandardCheckpointer() as checkpointer:
        restored = checkpointer.restore(source, target)
    train_state: TrainState = _with_keys(restored, like)
    return train_state


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _without_keys(tree: Any) -> Any:
    def data(leaf: Any) -> Any:
        if not _is_key(leaf):
            return leaf
        return jax.random.key_data(leaf) if isinstance(leaf, jax.Array) else jax.eval_shape(jax.random.key_data, leaf)

    return jax.tree.map(data, tree)


def _with_keys(stored: Any, like: Any) -> Any:
    def wrap(leaf: Any, template: Any) -> Any:
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(template)) if _is_key(template) else leaf

    return jax.tree.map(wrap, stored, like)
