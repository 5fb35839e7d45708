"""The checkpoints of a run of `fit`: the last one, to go on from, and the best one, to use."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxnets.errors import SaveError
from jaxnets.folder_lock import lock_folder, unlock_folder
from jaxnets.integers import as_integer
from jaxnets.processes import all_or_none, from_first, is_lost, process_count, wait_together
from jaxnets.training import checkpoint_store as store
from jaxnets.training.checkpoint_store import Progress
from jaxnets.training.history import Mode, best_step, check_metric, is_best
from jaxnets.training.settings import different
from jaxnets.training.state import TrainState
from jaxnets.types import PyTree


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
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Checkpoints(folder, best=None) as checkpoints:
        ...         state = TrainState.create({"w": np.ones(2, np.float32)}, (), seed=0, step=3)
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
        if every_steps is not None:
            every_steps = as_integer("Checkpoints", "every_steps", every_steps, at_least=1)
        self.folder = Path(folder).expanduser().absolute()
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"Checkpoints: {folder} is a file; name a folder")
        self.best, self.every_steps = best, every_steps
        self.mode: Mode = "min" if best is None else check_metric("Checkpoints", best, mode)
        self._managers: dict[str, Any] = {}
        self._saved_step = 0

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if is_lost(error):  # nothing can be completed without the other process
            self._managers.clear()
        self._close(together=error is None)

    def save_last(self, progress: Progress, *, now: bool = True) -> None:
        """Save in the background, unless the last checkpoint is of the same step already.

        Args:
            progress: what to save.
            now: False saves only if `every_steps` steps were done since.
        """
        step = int(progress.train_state.step)
        if now or (self.every_steps is not None and step - self._saved_step >= self.every_steps):
            self._wait_for_best_before(step)
            self._save("last", progress)
            self._saved_step = step

    def _wait_for_best_before(self, step: int) -> None:
        """Let an earlier `best` be complete first: later ones can be had from `last` (see `_mend_best`)."""
        manager = self._managers.get("best")
        if manager is not None and manager.latest_step() != step:
            self._wait("best")

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
            FolderInUseError: a ValueError, if another process trains in this folder.
        """
        from_first(self._take_folder)
        if store.read_settings(self.folder / "last") is None:
            self._put_aside_best(settings)
        for which in ("last", "best"):
            self._check_settings(which, settings)
        progress = all_or_none(
            "reading the checkpoint", lambda: store.restore(self.folder / "last", like, epoch_metrics_like)
        )
        self._saved_step = int((like if progress is None else progress.train_state).step)
        self._mend_best(progress)
        return progress

    def _take_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lock_folder(self.folder)

    def close(self) -> None:
        """Wait until everything is written; if there are several processes, call it in all."""
        self._close(together=True)

    def _close(self, *, together: bool) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(store.log_errors_of_saves, True)
            stack.callback(unlock_folder, self.folder)
            stack.callback(self._managers.clear)
            for which in self._managers:
                stack.callback(self._close_manager, which, together=together)

    def _close_manager(self, which: str, *, together: bool) -> None:
        """Complete what is being saved; after another error, one in that would hide it."""
        manager = self._managers.get(which)
        if manager is None:
            return
        with contextlib.nullcontext() if together else contextlib.suppress(SaveError):
            if together:
                self._wait(which)
            with store.naming_failed_save(self.folder / which):
                manager.close()

    def _check_settings(self, which: str, settings: Mapping[str, Any]) -> None:
        """Raise ValueError if a checkpoint is of a run with other settings: one folder holds one run."""
        there = store.read_settings(self.folder / which)
        other = {} if there is None else different(there[1], settings)
        if other:
            said = ", ".join(f"{name} {old}, not {new}" for name, (old, new) in list(other.items())[:8])
            raise ValueError(
                f"{self.folder / which} holds a run with {said}; to go on with it take the same, for a new run another "
                f"folder; to begin a new run from its weights, fit(load_last({str(self.folder)!r}, like=...), ...)"
            )

    def _put_aside_best(self, settings: Mapping[str, Any]) -> None:
        """Rename `best` if it is of another run, whose `last` was deleted."""
        there, path = store.read_settings(self.folder / "best"), self.folder / "best"
        if there is None or not different(there[1], settings):
            return

        def rename() -> Path:
            number = 1
            while (aside := self.folder / f"best-of-run-before-{number}").exists():
                number += 1
            return path.rename(aside)

        aside = from_first(rename)
        warnings.warn(f"{path} was of another run, whose last checkpoint is gone; it is now {aside}", stacklevel=4)

    def _mend_best(self, progress: Progress | None) -> None:
        """Make `best` that of the history: a process may have been killed between the two."""
        if self.best is None:
            return
        there = store.read_settings(self.folder / "best")
        if there is not None and there[0] > self._saved_step:
            store.remove(self.folder / "best")  # of steps that will be done again
        step = None if progress is None else best_step(progress.history, self.best, self.mode)
        if progress is not None and step is not None and (there is None or there[0] != step):
            if step == self._saved_step:
                self._save("best", progress)
            else:
                warnings.warn(
                    f"{self.folder / 'best'} does not hold the best of {self.best!r} so far, that of step {step}; a "
                    "later one that is better takes its place",
                    stacklevel=4,
                )

    def _save(self, which: str, progress: Progress) -> None:
        if which not in self._managers:
            store.log_errors_of_saves(False)
            self._managers[which] = store.open_manager(self.folder / which, write=True)
        if process_count() > 1:
            for name in list(self._managers):  # the barriers of two managers have the same names
                self._wait(name)
        store.save(self._managers[which], progress)

    def _wait(self, which: str) -> None:
        """Wait until a checkpoint is written; if that fails in one of several processes, leave all as they are."""
        try:
            with store.naming_failed_save(self.folder / which):
                wait_together("saving the checkpoint", self._managers[which].wait_until_finished)
        except Exception:
            if process_count() > 1:
                self._managers.clear()
            raise


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
        PermissionError: if its files may not be read.
    """
    return _load(Path(folder).expanduser() / "best", like)


def _load(path: Path, like: TrainState) -> TrainState:
    progress = all_or_none("reading the checkpoint", lambda: store.restore(path, like, None))
    if progress is None:
        raise FileNotFoundError(f"there is no complete checkpoint in {path}")
    return progress.train_state
