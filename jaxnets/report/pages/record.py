"""What a run has left in its folder, read for a page."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxnets.errors import RunFolderError
from jaxnets.report.metrics_file import read_metrics
from jaxnets.report.strict_json import NON_FINITE, read_object
from jaxnets.report.style import experiment_of


class RunRecord(NamedTuple):
    """What is in the folder of a run.

    Attributes:
        path: the folder.
        experiment: the experiment's name.
        config: its settings.
        rows: of `metrics.jsonl`.
        result: the content of `result.json`; None if the run has not finished.
        warnings: what is wrong with the files but does not matter for the rest.
    """

    path: Path
    experiment: str
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    result: dict[str, Any] | None
    warnings: tuple[str, ...]

    @property
    def seed(self) -> Any:
        """The seed of the run."""
        return self.config.get("seed")

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.path.resolve().name

    @property
    def metrics(self) -> dict[tuple[str, str], float]:
        """The final numbers by split, or what stands in its place, and name; empty for an unfinished run."""
        return {} if self.result is None else flat_metrics(self.result["metrics"])


def read_run(path: str | os.PathLike[str]) -> RunRecord:
    """Read the folder of a run, finished or not.

    Raises:
        RunFolderError: a ValueError, if it is not the folder of a run, with what to write instead.
        ValueError: if one of its files is damaged.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise RunFolderError(f"{path} is not the folder of a run: there is no such folder{_hint(folder.parent)}")
    if not (folder / "config.json").is_file():
        raise RunFolderError(f"{path} is not the folder of a run: it has no config.json{_hint(folder)}")
    result = _read_result(folder / "result.json")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        metrics = folder / "metrics.jsonl"
        rows = read_metrics(metrics) if metrics.is_file() else []
    said = tuple(str(warning.message) for warning in caught)
    return RunRecord(folder, experiment_of(folder), read_object(folder / "config.json"), rows, result, said)


def _read_result(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    result = read_object(file)
    defaults: dict[str, Any] = {"metrics": None, "seconds": {}, "versions": {}, "device": {}}
    for name, default in defaults.items():
        if not isinstance(result.get(name, default), dict):
            raise ValueError(f"{file} is damaged: expected an object {name!r}, as RunFolder.write_result writes it")
    return result


def _hint(folder: Path) -> str:
    """Folders of runs nearby, which may have been meant."""
    found = sorted(file.parent for file in [*folder.glob("*/config.json"), *folder.glob("*/*/config.json")])
    if not found:
        return "; name one that an experiment has written, such as runs/digits_cnn/20260131-120000-seed0"
    return f"; runs are in {', '.join(map(str, found[-3:]))}" + (
        f" and {len(found) - 3} more" if len(found) > 3 else ""
    )


def flat_metrics(metrics: Mapping[str, Any]) -> dict[tuple[str, str], float]:
    """The numbers of nested metrics by group and name; lists and words are left out.

    Example:
        >>> flat_metrics({"test": {"accuracy": 0.5, "loss": "NaN"}, "time": 3})
        {('test', 'accuracy'): 0.5, ('test', 'loss'): nan, ('', 'time'): 3}
    """
    found: dict[tuple[str, str], float] = {}

    def visit(group: tuple[str, ...], name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, child in value.items():
                visit((*group, name) if name else group, key, child)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[" ".join(group), name] = value
        elif isinstance(value, str) and value in NON_FINITE:
            found[" ".join(group), name] = NON_FINITE[value]

    visit((), "", metrics)
    return found


def number(value: Any) -> str:
    """A number for reading, with four digits or all of an integer; other values as they are.

    Example:
        >>> [number(value) for value in (0.98611, 12345, 12345.6, 1e-7, math.nan, None, "adam")]
        ['0.9861', '12,345', '12,346', '1.000e-07', 'NaN', '', 'adam']
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}" if abs(value) < 1e7 else f"{value:.3e}"
    return f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.3e}"


def setting(value: Any) -> str:
    """A setting for reading, on one line.

    Example:
        >>> [setting(value) for value in (0.002, 1, True, None, [28, 28, 1], {"name": "adam"})]
        ['0.002', '1', 'yes', '(none)', '28, 28, 1', 'name adam']
    """
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {setting(child)}" for name, child in value.items())
    if isinstance(value, list):
        return ", ".join(map(setting, value)) or "(none)"
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
