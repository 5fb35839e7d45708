"""The folder of one run."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxnets.errors import RunFolderError
from jaxnets.folder_lock import FolderInUseError, lock_folder, unlock_folder
from jaxnets.processes import from_first, is_first, to_host
from jaxnets.report import provenance
from jaxnets.report.metrics_file import append_metrics, drop_metrics_after, read_metrics
from jaxnets.report.strict_json import dumps, read_object, write_atomically
from jaxnets.training.event import Callback, Event
from jaxnets.tree import fingerprint
from jaxnets.types import Params


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The folder of one run: `config.json`, `metrics.jsonl`, `result.json`, and other files of the run.

    `RunFolder.open` creates a folder or reopens that of the same run; `create` and `reopen` do one of the two. In
    several processes all call the same methods; process 0 alone writes, and all have the folder that it chose.

    Attributes:
        path: the folder.
        experiment: the experiment's name.
        seed: the seed of the run.
        command: the command that reproduces it.
        commit: the git commit of the experiment's code at the start of the run; None outside a checkout.
    """

    path: Path
    experiment: str
    seed: int
    command: str
    commit: str | None

    @classmethod
    def create(cls, experiment: str, config: Any, *, path: str | os.PathLike[str] | None = None) -> RunFolder:
        """Create the folder of a new run and write its settings to `config.json`.

        Args:
            experiment: a name, such as "digits_cnn".
            config: the settings, a frozen dataclass with an integer `seed`.
            path: the folder; it may exist if it is empty. None takes `runs/<experiment>/<time>-seed<seed>`, with a
                number appended if that exists.

        Raises:
            ValueError: if `path` exists and is not empty.
            TypeError: if `config` is not a frozen dataclass with an integer `seed`, or has values that JSON cannot
                store.

        Example:
            >>> import tempfile
            >>> @dataclasses.dataclass(frozen=True)
            ... class Config:
            ...     seed: int = 3
            ...     learning_rate: float = 1e-3
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     run = RunFolder.create("example", Config(), path=folder)
            ...     print((run.path / "config.json").read_text().strip())
            {
              "seed": 3,
              "learning_rate": 0.001
            }
        """
        return from_first(lambda: cls._create(experiment, config, path))

    @classmethod
    def _create(cls, experiment: str, config: Any, path: str | os.PathLike[str] | None) -> RunFolder:
        text = _config_text(config)
        folder = _new_folder(experiment, config.seed) if path is None else _empty_folder(Path(path).expanduser())
        lock_folder(folder)
        write_atomically(folder / "config.json", text)
        return cls._of(folder, experiment, config)

    @classmethod
    def reopen(cls, experiment: str, config: Any, path: str | os.PathLike[str]) -> RunFolder:
        """Reopen the folder of a stopped run; further metrics are appended.

        A setting named `out`, for the folder itself, may differ.

        Raises:
            FileNotFoundError: if there is no run at `path`.
            ValueError: if that run had other settings, with their names and values, or its settings cannot be read.
            FolderInUseError: a ValueError, if another process works in it.
        """
        return from_first(lambda: cls._reopen(experiment, config, path))

    @classmethod
    def _reopen(cls, experiment: str, config: Any, path: str | os.PathLike[str]) -> RunFolder:
        folder = Path(path).expanduser()
        different = _differences(folder / "config.json", config)
        if different:
            raise RunFolderError(
                f"RunFolder: {folder} was made with other settings: {', '.join(different)}; "
                "take another folder, or those settings"
            )
        if not (folder / "result.json").exists():
            lock_folder(folder)
        return cls._of(folder, experiment, config)

    @classmethod
    def open(cls, experiment: str, config: Any, *, path: str | os.PathLike[str] | None = None) -> RunFolder:
        """Reopen the folder of a stopped run with the same settings, or create a new one.

        This process holds the folder until the result is written or it ends. If a start failed before anything was
        measured or saved, the folder is as good as new: other settings take the place of those there.

        Args:
            experiment: a name, such as "digits_cnn".
            config: the settings, a frozen dataclass with an integer `seed`.
            path: the folder. None takes the newest in `runs/<experiment>/` with the same settings and no result, in
                which no other process works.

        Raises:
            ValueError: if the folder at `path` has other content than a run with these settings.
            FolderInUseError: a ValueError, if another process works in the folder at `path`.

        Example:
            >>> import tempfile
            >>> @dataclasses.dataclass(frozen=True)
            ... class Config:
            ...     seed: int = 3
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     first = RunFolder.open("example", Config(), path=folder)
            ...     RunFolder.open("example", Config(), path=folder) == first
            True
        """
        return from_first(lambda: cls._open(experiment, config, path))

    @classmethod
    def _open(cls, experiment: str, config: Any, path: str | os.PathLike[str] | None) -> RunFolder:
        if path is not None:
            folder = Path(path).expanduser()
            if not (folder / "config.json").exists():
                return cls._create(experiment, config, folder)
            if _is_untouched(folder):
                lock_folder(folder)
                write_atomically(folder / "config.json", _config_text(config))
            return cls._reopen(experiment, config, folder)
        text = _config_text(config)
        for settings in sorted((Path("runs") / experiment).glob("*/config.json"), reverse=True):
            there = settings.read_text(encoding="utf-8", errors="replace")
            if there == text and not (settings.parent / "result.json").exists():
                with contextlib.suppress(FolderInUseError):
                    return cls._reopen(experiment, config, settings.parent)
        return cls._create(experiment, config, None)

    @property
    def checkpoints(self) -> Path:
        """The folder for `jaxnets.training.Checkpoints`."""
        return self.path / "checkpoints"

    def remove_untouched(self) -> None:
        """Remove the folder if a start failed before anything but the settings was written to it.

        Example:
            >>> import tempfile
            >>> @dataclasses.dataclass(frozen=True)
            ... class Config:
            ...     seed: int = 3
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     run = RunFolder.create("example", Config(), path=f"{folder}/run")
            ...     run.remove_untouched()
            ...     run.path.exists()
            False
        """
        if is_first() and _is_untouched(self.path):
            unlock_folder(self.path)
            shutil.rmtree(self.path, ignore_errors=True)  # it cannot be removed if it is the working directory

    def read_result(self) -> dict[str, Any] | None:
        """Return the content of `result.json`, or None if the run has not finished; ValueError if it is damaged."""
        file = self.path / "result.json"
        return read_object(file) if file.exists() else None

    def drop_metrics_after(self, step: int) -> None:
        """Remove later rows of `metrics.jsonl`; see `jaxnets.report.metrics_file.drop_metrics_after`."""
        if is_first():
            drop_metrics_after(self.path / "metrics.jsonl", step)

    @classmethod
    def _of(cls, folder: Path, experiment: str, config: Any) -> RunFolder:
        source = getattr(sys.modules.get(type(config).__module__), "__file__", None)
        commit = None if source is None else provenance.commit(source)
        return cls(folder, experiment, config.seed, provenance.command(), commit)

    def append_metrics(self, *, step: int, epoch: float, split: str, metrics: Mapping[str, Any]) -> None:
        """Append one row to `metrics.jsonl`; see `jaxnets.report.append_metrics`."""
        if is_first():
            append_metrics(self.path / "metrics.jsonl", step=step, epoch=epoch, split=split, metrics=metrics)

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the rows of `metrics.jsonl`; see `jaxnets.report.read_metrics`."""
        return read_metrics(self.path / "metrics.jsonl")

    def write_result(
        self,
        metrics: Mapping[str, Any],
        params: Params,
        *,
        compile_seconds: float,
        run_seconds: float,
        first_step: int = 0,
        parts: Mapping[str, float] | None = None,
    ) -> dict[str, Any]:
        """Write `result.json` atomically.

        Args:
            metrics: the final metrics, such as `{"train": {...}, "validation": {...}, "test": {...}}`.
            params: the final parameters, for their fingerprint.
            compile_seconds: wall time spent compiling.
            run_seconds: wall time of everything else.
            first_step: the step from which this process resumed a stopped run; the seconds are those of this
                process.
            parts: what of `run_seconds` was spent on what, as far as it is known, such as `{"training": 41.0}`.

        Returns:
            The written content: `experiment`, `date` (of the end, in UTC), `seed`, `metrics`, `fingerprint`, `seconds`,
            `first_step`, `command`, `commit`, `versions` and `device`.
        """
        result = {
            "experiment": self.experiment,
            "date": provenance.date(),
            "seed": self.seed,
            "metrics": metrics,
            "fingerprint": fingerprint(to_host(params)),
            "seconds": _rounded({"compile": compile_seconds, "run": run_seconds, **(parts or {})}),
            "first_step": first_step,
            "command": self.command,
            "commit": self.commit,
            "versions": provenance.versions(),
            "device": provenance.device(),
        }
        text = dumps(result, indent=2)
        if is_first():
            write_atomically(self.path / "result.json", text + "\n")
        unlock_folder(self.path)
        written: dict[str, Any] = json.loads(text)
        return written

    def add_seconds(self, part: str, seconds: float) -> None:
        """Add to `result.json`, atomically, what was spent on something after the run, such as drawing."""
        result = self.read_result()
        if result is None:
            raise ValueError(f"RunFolder.add_seconds: {self.path} has no result.json yet; call write_result first")
        result["seconds"] |= _rounded({part: seconds})
        if is_first():
            write_atomically(self.path / "result.json", dumps(result, indent=2) + "\n")

    def write_text(self, name: str, text: str) -> None:
        """Write a text, such as a summary of the model, into a file of the folder."""
        if is_first():
            write_atomically(self.path / name, text.rstrip("\n") + "\n")


def record_metrics(run_folder: RunFolder) -> Callback:
    """Make a callback of `fit` that writes each epoch's training metrics and each evaluation to `metrics.jsonl`.

    When a run resumes from a checkpoint, rows of later steps are removed first; they are written again.

    Example:
        `fit(..., callbacks=[progress(), record_metrics(run_folder)])`
    """

    def record(event: Event) -> None:
        if event.kind == "start":
            run_folder.drop_metrics_after(event.step)
        if event.kind in ("epoch", "evaluate"):
            run_folder.append_metrics(step=event.step, epoch=event.epoch, split=event.split, metrics=event.metrics)

    return record


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {part: round(value, 3) for part, value in seconds.items()}


def _config_text(config: Any) -> str:
    if not dataclasses.is_dataclass(config) or isinstance(config, type) or not _is_frozen(config):
        raise TypeError(
            f"RunFolder: config must be an instance of a frozen dataclass, got {type(config).__name__}; "
            "write @dataclasses.dataclass(frozen=True) above its class"
        )
    if not hasattr(getattr(config, "seed", None), "__index__"):
        raise TypeError(f"RunFolder: {type(config).__name__} must have an integer field 'seed'")
    return dumps(config, indent=2) + "\n"


def _differences(file: Path, config: Any) -> list[str]:
    """How the settings in a file differ from those given; `out`, the folder itself, does not count."""
    try:
        there = read_object(file)
    except ValueError as error:
        raise RunFolderError(
            f"RunFolder.reopen: {file} does not hold the settings of a run, {error}; take another folder, or write "
            "the settings of the run into it again"
        ) from error
    given = json.loads(_config_text(config))
    return [
        f"{name} {there.get(name)!r}, not {given.get(name)!r}"
        for name in sorted({*there, *given} - {"out"})
        if there.get(name, ...) != given.get(name, ...)
    ]


def _is_untouched(folder: Path) -> bool:
    """Whether a folder holds the settings of a run and no other file but locks."""
    files = [file for file in folder.rglob("*") if not file.is_dir()]
    return all(file.name == ".lock" or file == folder / "config.json" for file in files)


def _is_frozen(config: Any) -> bool:
    return bool(config.__dataclass_params__.frozen)


def _empty_folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for leftover in path.glob(".config.json.*"):  # of a process that was killed while creating the folder
        leftover.unlink()
    if any(file.name != ".lock" for file in path.iterdir()):
        raise RunFolderError(f"RunFolder: {path} exists and is not empty; choose another folder or delete it")
    return path


def _new_folder(experiment: str, seed: int) -> Path:
    started = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    base = Path("runs") / experiment / f"{started}-seed{seed}"
    base.parent.mkdir(parents=True, exist_ok=True)
    number, path = 1, base
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
            path = base.with_name(f"{base.name}-{number}")
        else:
            return path
