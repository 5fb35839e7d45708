"""The checkpoints of a run of `fit`: the last one, to go on from, and the best one, to use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from jaxnets.training.history import History, Mode, check_metric, is_best
from jaxnets.training.programs import copy_arrays
from jaxnets.training.state import TrainState
from jaxnets.tree import paths
from jaxnets.types import PyTree


class Progress(NamedTuple):
    """All that `fit` needs to go on.

    Attributes:
        train_state: the train state.
        epoch_metrics: the streamable metrics of the running epoch, None at its beginning.
        history: the records so far; see `jaxnets.training.history`.
        metrics: the newest numbers of each split, arrays included.
        settings: what has to be the same when the run goes on, by name: seed, batch size, ...
    """

    train_state: TrainState
    epoch_metrics: PyTree | None
    history: History
    metrics: Mapping[str, Mapping[str, Any]] = {}
    settings: Mapping[str, Any] = {}


class Checkpoints:
    """Where and when `fit` saves, and where it goes on from: with the same settings, the same bits.

    orbax writes in the background while training goes on. A checkpoint counts once it is complete: a process that is
    killed while saving leaves the one before.

    Args:
        folder: gets the folders `last` and `best`.
        best: the metric, `train/name` or `validation/name`, whose best value is kept in `best`; None keeps the last
            one only.
        mode: `"min"` if small values of it are good, `"max"` if large ones are; a loss needs none.
        every_steps: save also after so many steps (at the end of the dispatch); by default after every epoch only.

    Raises:
        ValueError: if a setting is out of range.
        NotADirectoryError: if there is a file at `folder`.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Checkpoints(folder, best=None) as checkpoints:
        ...         state = TrainState.create({"w": jax.numpy.ones(2)}, (), seed=0, step=3)
        ...         checkpoints.save_last(Progress(state, None, []))
        ...     int(load_last(folder, like=state).step)
        3
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        best: str | None = "validation/loss",
        mode: Mode | None = None,
        every_steps: int | None = None,
    ):
        if every_steps is not None and every_steps < 1:
            raise ValueError(f"Checkpoints: every_steps must be at least 1, got {every_steps}")
        self.folder = Path(folder).expanduser().absolute()
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"Checkpoints: {folder} is a file; name a folder")
        self.best, self.every_steps = best, every_steps
        self.mode: Mode = "min" if best is None else check_metric("Checkpoints", best, mode)
        self._managers: dict[str, Any] = {}
        self._saved_step = 0

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def save_last(self, progress: Progress, *, now: bool = True) -> None:
        """Save in the background, unless the last checkpoint is of the same step already.

        Args:
            progress: what to save.
            now: False saves only if `every_steps` steps were done since.
        """
        step = int(progress.train_state.step)
        if now or (self.every_steps is not None and step - self._saved_step >= self.every_steps):
            self._save("last", progress)
            self._saved_step = step

    def save_best(self, progress: Progress) -> None:
        """Save in the background if the newest record has the best value so far of the metric `best`."""
        if self.best is None or progress.history[-1]["split"] != self.best.partition("/")[0]:
            return
        if is_best(progress.history, self.best, self.mode):
            self._save("best", progress)

    def restore_last(
        self, like: TrainState, epoch_metrics_like: PyTree, settings: Mapping[str, Any]
    ) -> Progress | None:
        """Make the folder, and read the last checkpoint; None if there is none.

        Args:
            like: a train state of the same structure, on the devices where the restored one shall lie.
            epoch_metrics_like: the shapes of the metrics of a step.
            settings: those of the run that would go on.

        Raises:
            ValueError: if the checkpoint is of a run with other settings, has another structure, other shapes or
                dtypes than `like`, or cannot be read.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        progress = _restore(self.folder / "last", like, epoch_metrics_like)
        self._saved_step = int((like if progress is None else progress.train_state).step)
        if progress is not None:
            there = progress.settings
            other = [
                f"{name} {there.get(name)}, not {value}" for name, value in settings.items() if there.get(name) != value
            ]
            if other:
                raise ValueError(
                    f"{self.folder} holds a run with {', '.join(other)}; to go on with it take the same, "
                    "for a new run another folder"
                )
        return progress

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
        arrays = copy_arrays({"train_state": progress.train_state, "epoch_metrics": progress.epoch_metrics})
        if not jax.tree.leaves(arrays["epoch_metrics"]):
            del arrays["epoch_metrics"]
        run = {
            "history": list(progress.history),
            "metrics": jax.tree.map(_to_json, dict(progress.metrics)),
            "settings": dict(progress.settings),
            "arrays": _describe(arrays),
        }
        items = {name: ocp.args.StandardSave(tree) for name, tree in arrays.items()}
        manager.save(step, args=ocp.args.Composite(run=ocp.args.JsonSave(run), **items))


def load_last(folder: str | os.PathLike[str], *, like: TrainState) -> TrainState:
    """Read the train state of the last checkpoint of a run; see `load_best`."""
    return _load(Path(folder).expanduser() / "last", like)


def load_best(folder: str | os.PathLike[str], *, like: TrainState) -> TrainState:
    """Read the train state of the best checkpoint of a run.

    Args:
        folder: that of `Checkpoints`.
        like: a train state of the same structure, such as a fresh one.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it has another structure, other shapes or dtypes than `like`, or cannot be read.
    """
    return _load(Path(folder).expanduser() / "best", like)


def restore_target(like: TrainState) -> TrainState:
    """Shapes, dtypes and devices of a train state, which may be `jax.eval_shape` of one, as orbax takes them.

    Example:
        >>> like = jax.eval_shape(lambda: TrainState.create({"w": np.ones(2, np.float32)}, (), seed=0))
        >>> restore_target(like).params["w"].sharding == SingleDeviceSharding(jax.devices()[0])
        True
    """
    device = getattr(like.step, "sharding", None) or SingleDeviceSharding(jax.devices()[0])

    def target(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None) or device)

    described: TrainState = jax.tree.map(target, like)
    return described


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
    with ocp.CheckpointManager(path.absolute()) as manager:
        step = manager.latest_step()
        if step is None:
            return None
        run = _read(manager, path, step, run=ocp.args.JsonRestore())["run"]
        wanted: dict[str, Any] = {"train_state": restore_target(like)}
        if epoch_metrics_like is not None and any(name.startswith("epoch_metrics/") for name in run["arrays"]):
            place = wanted["train_state"].step.sharding
            wanted["epoch_metrics"] = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), epoch_metrics_like
            )
        _check_same(path, run["arrays"], _describe(wanted))
        items = {name: ocp.args.StandardRestore(tree) for name, tree in wanted.items()}
        found = _read(manager, path, step, **items)
    metrics = {split: {name: _from_json(value) for name, value in of.items()} for split, of in run["metrics"].items()}
    return Progress(found["train_state"], found.get("epoch_metrics"), run["history"], metrics, run["settings"])


def _read(manager: Any, path: Path, step: int, **items: Any) -> Any:
    import orbax.checkpoint as ocp

    try:
        return manager.restore(step, args=ocp.args.Composite(**items))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ValueError(
            f"the checkpoint of step {step} cannot be read, a file of it is damaged; delete {path} to start anew"
        ) from error


def _describe(tree: PyTree) -> dict[str, str]:
    """The dtype and shape of each array, by path."""
    return {path: f"{np.dtype(leaf.dtype).name} {list(leaf.shape)}" for path, leaf in paths(tree).items()}


def _check_same(path: Path, stored: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    """Raise ValueError if the arrays of a checkpoint are not those wanted."""
    wrong = [f"it has no {name}" for name in wanted if name not in stored]
    kinds = {name.split("/")[0] for name in wanted}
    wrong += [f"{name} is not wanted" for name in stored if name not in wanted and name.split("/")[0] in kinds]
    wrong += [
        f"{name} is {stored[name]}, not {wanted[name]}"
        for name in wanted
        if stored.get(name, wanted[name]) != wanted[name]
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(
            f"{path} holds a checkpoint of another model or optimizer: {'; '.join(wrong[:5])}{more}; "
            "take the same ones, or another folder"
        )


def _to_json(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return {"dtype": value.dtype.name, "values": value.tolist()}


def _from_json(value: Any) -> Any:
    return np.asarray(value["values"], value["dtype"]) if isinstance(value, dict) else value
