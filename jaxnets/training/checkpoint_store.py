"""One folder with one checkpoint of a run, as orbax writes and reads it."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import SingleDeviceSharding

from jaxnets.errors import SaveError
from jaxnets.processes import OtherProcessError, is_lost, process_count
from jaxnets.training.history import History
from jaxnets.training.programs import copy_arrays
from jaxnets.training.state import TrainState
from jaxnets.tree import paths
from jaxnets.types import PyTree

_RUN = {"history": list, "metrics": dict, "settings": dict, "arrays": dict}
_LARGEST_NUMBER = 16  # bytes
_ERRORS = (  # what orbax raises on damaged files
    *(ArithmeticError, AssertionError, AttributeError, LookupError, NotImplementedError, OSError, RecursionError),
    *(TypeError, ValueError),
)


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


def open_manager(path: Path, *, write: bool = False) -> Any:
    """Open orbax's manager of a folder with one checkpoint; to write, in the background."""
    import orbax.checkpoint as ocp

    options = None
    if write:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=1,
            enable_async_checkpointing=True,
            cleanup_tmp_directories=True,
            async_options=ocp.AsyncOptions(barrier_sync_fn=_meet) if process_count() > 1 else None,
        )
    return ocp.CheckpointManager(path.absolute(), options=options)


def _meet(*, key: str, timeout_ms: int) -> None:
    """Wait for the other processes at a barrier, but not after an error: they would wait for this one elsewhere.

    orbax comes here from `finally`; with its own barriers both wait until they time out, for ten minutes.
    """
    import orbax.checkpoint as ocp

    if (error := sys.exc_info()[1]) is not None:
        raise error
    ocp.multihost.get_barrier_sync_fn()(key=key, timeout_ms=timeout_ms)


def save(manager: Any, progress: Progress) -> None:
    """Save in the background, unless there is a checkpoint of the same step.

    Raises:
        ValueError: if orbax refuses, as it does if there is a later checkpoint.
    """
    import orbax.checkpoint as ocp

    step = int(progress.train_state.step)
    if manager.latest_step() == step:
        return
    # The step that comes next reuses the buffers of the train state.
    arrays = without_keys({"train_state": progress.train_state, "epoch_metrics": progress.epoch_metrics})
    arrays = copy_arrays(arrays)
    if not jax.tree.leaves(arrays["epoch_metrics"]):
        del arrays["epoch_metrics"]
    run = {
        "history": list(progress.history),
        "metrics": jax.tree.map(_to_json, dict(progress.metrics)),
        "settings": dict(progress.settings),
        "arrays": describe_arrays(arrays),
        "structure": _structure(progress.train_state),
    }
    items = {name: ocp.args.StandardSave(tree) for name, tree in arrays.items()}
    with naming_failed_save(Path(manager.directory)):
        saved = manager.save(step, args=ocp.args.Composite(run=ocp.args.JsonSave(run), **items))
    if not saved:
        raise ValueError(
            f"Checkpoints: step {step} was not saved, because {manager.directory} holds one of step "
            f"{manager.latest_step()}; save this run in another folder"
        )


@contextlib.contextmanager
def naming_failed_save(path: Path) -> Iterator[None]:
    """Say in a SaveError why the system cannot write a checkpoint, whatever was raised by that.

    Args:
        path: its folder.

    Raises:
        SaveError: an OSError, in the place of any error of the system but one that another process caused.

    Example:
        >>> with naming_failed_save(Path("runs/1/last")):
        ...     raise ValueError("cannot write the file: No space left on device [os_error_code='28']")
        Traceback (most recent call last):
        ...
        jaxnets.errors.SaveError: the checkpoint in runs/1/last could not be saved: No space left on device; ...
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, SaveError | OtherProcessError) or is_lost(error):
            raise
        said = str(error)
        code = re.search(r"os_error_code='(\d+)'", said)
        if not (code or isinstance(error, OSError) or re.match("[A-Z_]+: ", said)):  # tensorstore's begin so
            raise
        why = os.strerror(int(code[1])) if code else f"{type(error).__name__}: {said[:300]}"
        raise SaveError(
            f"the checkpoint in {path} could not be saved: {why}; mend that and start again: the run goes on from the "
            f"last complete checkpoint in {path.parent}"
        ) from error


class _RaisedElsewhere(logging.Filter):
    """Leaves out what orbax's threads log of errors, at great length, that are raised as well."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno < logging.ERROR or "orbax" not in Path(record.pathname).parts


_RAISED_ELSEWHERE = _RaisedElsewhere()


def log_errors_of_saves(log: bool) -> None:
    """Let orbax log errors of its threads, or not.

    Example:
        >>> log_errors_of_saves(True)
    """
    logger = logging.getLogger("absl")
    (logger.removeFilter if log else logger.addFilter)(_RAISED_ELSEWHERE)


def read_settings(path: Path) -> tuple[int, dict[str, Any]] | None:
    """Return the step and the settings of the checkpoint in a folder; None if there is none."""
    if not path.is_dir():
        return None
    with _open_to_read(path) as manager:
        step = manager.latest_step()
        return None if step is None else (step, _read_run(manager, path, step)["settings"])


def remove(path: Path) -> None:
    """Remove the checkpoint in a folder."""
    with open_manager(path) as manager:
        for step in manager.all_steps():
            manager.delete(step)


def restore(path: Path, like: TrainState, epoch_metrics_like: PyTree | None) -> Progress | None:
    """Read the checkpoint in a folder, None if there is none.

    Args:
        path: the folder.
        like: a train state of the same structure.
        epoch_metrics_like: the shapes of the metrics of the epoch; None leaves them out.

    Raises:
        ValueError: if it has another structure, other shapes or dtypes than `like`, or cannot be read.
        PermissionError: if the files may not be read.
    """
    import orbax.checkpoint as ocp

    if not path.is_dir():
        return None
    with _open_to_read(path) as manager:
        step = manager.latest_step()
        if step is None:
            return None
        run = _read_run(manager, path, step)
        wanted: dict[str, Any] = {"train_state": restore_target(without_keys(like))}
        if epoch_metrics_like is not None and any(name.startswith("epoch_metrics/") for name in run["arrays"]):
            place = wanted["train_state"].step.sharding
            wanted["epoch_metrics"] = jax.tree.map(
                lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), epoch_metrics_like
            )
        structure = _structure(like)
        check_arrays(path, run["arrays"], describe_arrays(wanted), run.get("structure", structure) == structure)
        items = {name: ocp.args.StandardRestore(tree) for name, tree in wanted.items()}
        found = _read(manager, path, step, **items)
    with naming_damage(f"the checkpoint of step {step} in {path}", path.parent):
        metrics = {
            split: {name: _from_json(value) for name, value in of.items()} for split, of in run["metrics"].items()
        }
    state = with_keys(found["train_state"], like)
    return Progress(state, found.get("epoch_metrics"), run["history"], metrics, run["settings"])


def _read_run(manager: Any, path: Path, step: int) -> dict[str, Any]:
    import orbax.checkpoint as ocp

    run: dict[str, Any] = _read(manager, path, step, run=ocp.args.JsonRestore())["run"]
    with naming_damage(f"the checkpoint of step {step} in {path}", path.parent):
        if wrong := [name for name, kind in _RUN.items() if not isinstance(run.get(name), kind)]:
            raise ValueError(f"it has no {', '.join(wrong)} of a run")
    return run


@contextlib.contextmanager
def _open_to_read(path: Path) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        with naming_damage(f"the checkpoint in {path}", path.parent):
            manager = stack.enter_context(open_manager(path))
        yield manager


def _read(manager: Any, path: Path, step: int, **items: Any) -> Any:
    import orbax.checkpoint as ocp

    with naming_damage(f"the checkpoint of step {step} in {path}", path.parent):
        return manager.restore(step, args=ocp.args.Composite(**items))


@contextlib.contextmanager
def naming_damage(what: str, folder: Path) -> Iterator[None]:
    """Say in a ValueError what cannot be read, whatever was raised by its damaged files.

    Args:
        what: the checkpoint, with its path.
        folder: to move away.

    Raises:
        ValueError: if anything is wrong with the files.
        PermissionError: if they may not be read.

    Example:
        >>> with naming_damage("the checkpoint in runs/1/last", Path("runs/1")):
        ...     {}["metadata"]
        Traceback (most recent call last):
        ...
        ValueError: the checkpoint in runs/1/last cannot be read: KeyError: 'metadata'; if a file of it is damaged, ...
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, _ERRORS) and type(error) is not Exception:  # orbax raises that too
            raise
        if isinstance(error, PermissionError) or "PERMISSION_DENIED" in str(error):
            raise PermissionError(f"{what} may not be read: {error}") from error
        raise ValueError(
            f"{what} cannot be read: {type(error).__name__}: {str(error)[:300]}; if a file of it is damaged, "
            f"move {folder} away to begin anew"
        ) from error


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


def is_key(leaf: Any) -> bool:
    """Say whether a leaf is an array of typed PRNG keys, or the shape of one.

    Example:
        >>> is_key(jax.random.key(0)), is_key(jnp.zeros(2))
        (True, False)
    """
    return isinstance(leaf, jax.Array | jax.ShapeDtypeStruct) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def without_keys(tree: Any) -> Any:
    """Return a tree with the data of typed PRNG keys in their place.

    Example:
        >>> without_keys({"key": jax.random.key(0)})["key"].dtype
        dtype('uint32')
    """

    def data(leaf: Any) -> Any:
        if not is_key(leaf):
            return leaf
        return jax.random.key_data(leaf) if isinstance(leaf, jax.Array) else jax.eval_shape(jax.random.key_data, leaf)

    return jax.tree.map(data, tree)


def with_keys(stored: Any, like: Any) -> Any:
    """Return a tree with typed PRNG keys where `like` has some.

    Example:
        >>> like = {"key": jax.random.key(0)}
        >>> with_keys(without_keys(like), like)["key"] == like["key"]
        Array(True, dtype=bool)
    """

    def wrap(leaf: Any, template: Any) -> Any:
        return jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(template)) if is_key(template) else leaf

    return jax.tree.map(wrap, stored, like)


def _structure(train_state: TrainState) -> str:
    """The containers of a train state in words, such as the parts of an optimizer."""
    return str(jax.tree.structure(train_state))


def describe_arrays(tree: PyTree) -> dict[str, str]:
    """Return the dtype and shape of each array in words, by path.

    Example:
        >>> describe_arrays({"w": np.zeros(2, np.float32)})
        {'w': 'float32 [2]'}
    """
    return {path: f"{np.dtype(leaf.dtype).name} {list(leaf.shape)}" for path, leaf in paths(tree).items()}


def check_arrays(
    path: Path, stored: Mapping[str, str], wanted: Mapping[str, str], same_containers: bool = True
) -> None:
    """Raise ValueError if the arrays of a checkpoint, or what they are in, are not those wanted.

    Args:
        path: of the checkpoint.
        stored: what `describe_arrays` says of its arrays.
        wanted: the same of those wanted.
        same_containers: whether the containers of the arrays are the same.

    Example:
        >>> check_arrays(Path("last"), {"params/w": "float32 [2]"}, {"params/w": "float32 [2]"})
    """
    wrong = [f"it has no {name}" for name in wanted if name not in stored]
    kinds = {name.split("/")[0] for name in wanted}
    wrong += [f"{name} is not wanted" for name in stored if name not in wanted and name.split("/")[0] in kinds]
    wrong += [
        f"{name} is {stored[name]}, not {wanted[name]}"
        for name in wanted
        if stored.get(name, wanted[name]) != wanted[name]
    ]
    if not wrong and not same_containers:
        wrong = ["its arrays are in other containers, as those of an optimizer of other parts are"]
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
    if not isinstance(value, dict):
        return value
    dtype = np.dtype(value["dtype"])
    if dtype.itemsize > _LARGEST_NUMBER:  # as that of a string may be, which would fill the memory
        raise ValueError(f"{dtype} is no dtype of a metric")
    return np.asarray(value["values"], dtype)
