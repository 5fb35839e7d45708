"""The checkpoints of a run of `fit`: the last one, to go on from, and the best one, to use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.train.history import History, Mode, check_mode, is_best
from jaxnets.train.state import TrainState
from jaxnets.types import PyTree

_copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))


class Progress(NamedTuple):
    """All that `fit` needs to go on.

    Attributes:
        train_state: the train state.
        epoch_metrics: the streamable metrics of the running epoch, None at its beginning.
        history: the records so far; see `jaxnets.train.history`.
    """

    train_state: TrainState
    epoch_metrics: PyTree | None
    history: History


class Checkpoints:
    """Where and when `fit` saves, and where it goes on from: with the same settings, the same bits.

    orbax writes in the background while training goes on. A checkpoint counts once it is complete: a process that is
    killed while saving leaves the one before.

    Args:
        folder: gets the folders `last` and `best`.
        best: the metric, `split/name`, whose best value is kept in `best`; None keeps the last one only.
        mode: `"min"` if small values of it are good, `"max"` if large ones are.
        every_steps: save also after so many steps (at the end of the dispatch); by default after every epoch only.

    Raises:
        ValueError: if a setting is out of range.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Checkpoints(folder, best=None) as checkpoints:
        ...         state = TrainState.create({"w": jnp.ones(2)}, (), seed=0, step=3)
        ...         checkpoints.save_last(Progress(state, None, []))
        ...     int(load_last(folder, like=state).step)
        3
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        best: str | None = "validation/loss",
        mode: Mode = "min",
        every_steps: int | None = None,
    ):
        check_mode(mode)
        if every_steps is not None and every_steps < 1:
            raise ValueError(f"Checkpoints: every_steps must be at least 1, got {every_steps}")
        self.folder, self.best, self.mode, self.every_steps = Path(folder).absolute(), best, mode, every_steps
        self._managers: dict[str, Any] = {}

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def save_last(self, progress: Progress) -> None:
        """Save in the background, unless the last checkpoint is of the same step already."""
        self._save("last", progress)

    def save_best(self, progress: Progress) -> None:
        """Save in the background if the newest value of the metric `best` is better than all before it."""
        if self.best is not None and is_best(progress.history, self.best, self.mode):
            self._save("best", progress)

    def restore_last(self, like: TrainState, epoch_metrics_like: PyTree) -> Progress | None:
        """Read the last checkpoint; None if there is none.

        Args:
            like: a train state of the same structure, on the devices where the restored one shall lie.
            epoch_metrics_like: the metrics of a step, or `jax.eval_shape` of them.

        Raises:
            ValueError: if the structure or shapes of the checkpoint differ from `like`.
        """
        return _restore(self.folder / "last", like, epoch_metrics_like)

    def close(self) -> None:
        """Wait until everything is written."""
        for manager in self._managers.values():
            manager.close()
        self._managers.clear()

    def _save(self, which: str, progress: Progress) -> None:
        import orbax.checkpoint as ocp

        if which not in self._managers:
            self._managers[which] = ocp.CheckpointManager(
                self.folder / which,
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=1, enable_async_checkpointing=True, cleanup_tmp_directories=True
                ),
            )
        manager, step = self._managers[which], int(progress.train_state.step)
        if manager.latest_step() == step:
            return
        # The step that comes next reuses the buffers of the train state.
        train_state, epoch_metrics = _copy((progress.train_state, progress.epoch_metrics))
        items = {
            "train_state": ocp.args.StandardSave(train_state),
            "history": ocp.args.JsonSave(list(progress.history)),
        }
        if jax.tree.leaves(epoch_metrics):
            items["epoch_metrics"] = ocp.args.StandardSave(epoch_metrics)
        manager.save(step, args=ocp.args.Composite(**items))


def load_last(folder: str | os.PathLike[str], *, like: TrainState) -> TrainState:
    """Read the train state of the last checkpoint of a run; see `load_best`."""
    return _load(Path(folder) / "last", like)


def load_best(folder: str | os.PathLike[str], *, like: TrainState) -> TrainState:
    """Read the train state of the best checkpoint of a run.

    Args:
        folder: that of `Checkpoints`.
        like: a train state of the same structure, such as a fresh one.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if its structure or shapes differ from `like`.
    """
    return _load(Path(folder) / "best", like)


def _load(path: Path, like: TrainState) -> TrainState:
    progress = _restore(path, like, None)
    if progress is None:
        raise FileNotFoundError(f"there is no complete checkpoint in {path}")
    return progress.train_state


def _restore(path: Path, like: TrainState, epoch_metrics_like: PyTree | None) -> Progress | None:
    """Read what is there; the metrics of the epoch only if it is known what they are like."""
    import orbax.checkpoint as ocp

    if not path.is_dir():
        return None
    device = jax.tree.leaves(like)[0].sharding

    def target(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or device)

    with ocp.CheckpointManager(path.absolute()) as manager:
        step = manager.latest_step()
        if step is None:
            return None
        items = {
            "train_state": ocp.args.StandardRestore(jax.tree.map(target, like)),
            "history": ocp.args.JsonRestore(),
        }
        if epoch_metrics_like is not None and (path / str(step) / "epoch_metrics").is_dir():
            items["epoch_metrics"] = ocp.args.StandardRestore(jax.tree.map(target, epoch_metrics_like))
        found = manager.restore(step, args=ocp.args.Composite(**items))
    return Progress(found["train_state"], found.get("epoch_metrics"), found["history"])
