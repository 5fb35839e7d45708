"""Checkpoints of a train state, written by orbax."""

from __future__ import annotations

import os
from pathlib import Path

from jaxnets.training.checkpoint_store import (
    check_arrays,
    describe_arrays,
    naming_damage,
    restore_target,
    with_keys,
    without_keys,
)
from jaxnets.training.checks import check_savable
from jaxnets.training.state import TrainState


def save_checkpoint(path: str | os.PathLike[str], train_state: TrainState) -> None:
    """Write a train state into a new folder; the folder appears only when everything is in it.

    Typed PRNG keys are stored as their data.

    Args:
        path: the folder to make.
        train_state: the state to write.

    Raises:
        ValueError: if the folder exists, or an array has no entries.

    Example:
        >>> import tempfile, jax.numpy as jnp
        >>> state = TrainState.create({"w": jnp.ones(2)}, (), seed=0, step=3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_checkpoint(folder + "/last", state)
        ...     int(load_checkpoint(folder + "/last", like=state).step)
        3
    """
    import orbax.checkpoint as ocp

    target = Path(path).expanduser().absolute()
    if target.exists():
        raise ValueError(f"save_checkpoint: {path} exists; choose another folder or delete it")
    check_savable("save_checkpoint", train_state)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(target, without_keys(train_state))


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
        ValueError: if its structure, shapes or dtypes differ from `like`, which is named, or a file is damaged.
        PermissionError: if its files may not be read.

    Example:
        See `save_checkpoint`.
    """
    import orbax.checkpoint as ocp

    source = Path(path).expanduser().absolute()
    if not source.is_dir():
        raise FileNotFoundError(f"load_checkpoint: no checkpoint at {path}")
    target = restore_target(without_keys(like))
    with ocp.StandardCheckpointer() as checkpointer:
        what = f"load_checkpoint: the checkpoint in {source}"
        with naming_damage(what, source):
            stored = describe_arrays(checkpointer.metadata(source).item_metadata.tree)
        check_arrays(source, stored, describe_arrays(target))  # orbax would convert what has another dtype
        with naming_damage(what, source):
            restored = checkpointer.restore(source, target)
    train_state: TrainState = with_keys(restored, like)
    return train_state
