"""The report of one run: a page that holds all it shows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jaxnets.report.pages.curves import as_data, charts_of, metric_names, thinned
from jaxnets.report.pages.record import RunRecord, read_run, setting
from jaxnets.report.pages.render import pictures_in, render, texts_in
from jaxnets.report.strict_json import write_atomically

NAME = "report.html"
_MOST_CELLS = 4_000
_FIRST = ("accuracy", "loss")
_PARTS = {
    "compile": "Tracing and compiling",
    "training": "Training, callbacks and checkpoints included",
    "evaluation": "Evaluation after epochs",
    "waiting for data": "Waiting for data",
    "other": "The rest: data, initial values, tests",
    "run": "Everything but compilation and drawing",
    "drawing": "Drawing",
}


class Part(NamedTuple):
    """What took how long; `share` is of all."""

    name: str
    seconds: float
    share: float


def write_report(run: str | os.PathLike[str], path: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a run: one HTML file with its settings, numbers, curves, pictures and how to reproduce it.

    The file needs no network and no other file. Of a run that has not finished it shows what there is.

    Args:
        run: the folder of the run.
        path: the file to write; by default `report.html` in that folder.

    Returns:
        The file.

    Raises:
        RunFolderError: a ValueError, if `run` is not the folder of a run.
        ValueError: if one of its files is damaged.
        MissingPackageError: an ImportError, if jinja2 is not installed.

    Example:
        >>> import tempfile
        >>> from jaxnets.report import append_metrics
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "config.json").write_text('{"seed": 0, "learning_rate": 0.1}')
        ...     append_metrics(folder + "/metrics.jsonl", step=5, epoch=1, split="train", metrics={"loss": 0.5})
        ...     page = write_report(folder).read_text(encoding="utf-8")
        >>> "learning_rate" in page, "has not finished" in page
        (True, True)
    """
    record = read_run(run)
    file = record.path / NAME if path is None else Path(path).expanduser()
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, page_of(record))
    return file


def page_of(run: RunRecord) -> str:
    """The report as HTML."""
    known = ("date", "command", "commit", "fingerprint", "first_step")
    result: dict[str, Any] = dict.fromkeys(known) | {"seconds": {}} | (run.result or {})
    charts = thinned(charts_of(run.rows))
    pictures, left_out = pictures_in(run.path)
    gradients = run.path / "gradients.txt"
    texts = texts_in(run.path, without=(gradients.name,))
    return render(
        "report.html",
        run=run,
        result=result,
        highlights=highlights(run.metrics),
        table=by_group(run.metrics),
        charts=as_data(charts),
        last=last_rows(run),
        pictures=pictures,
        left_out=left_out,
        summaries=[text for text in texts if text.name.startswith("summary")],
        samples=[text for text in texts if not text.name.startswith("summary")],
        gradients=gradient_rows(gradients.read_text(encoding="utf-8")) if gradients.is_file() else None,
        rows=all_rows(run),
        parts=parts_of(result["seconds"]),
        total=total_seconds(result["seconds"]),
        packages=packages_of(result),
        settings={name: setting(value) for name, value in run.config.items()},
        environment=environment_of(result),
    )


def highlights(metrics: Mapping[tuple[str, str], float]) -> list[tuple[str, float]]:
    """The numbers to see first: of the test split if there are any, else of validation; accuracy and loss first."""
    groups = list(dict.fromkeys(group for group, _ in metrics))
    chosen = next((group for group in ("test", "validation") if group in groups), groups[0] if groups else "")
    names = [name for group, name in metrics if group == chosen]
    names.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    return [(f"{chosen} {name}".strip(), metrics[chosen, name]) for name in names[:4]]


def by_group(metrics: Mapping[tuple[str, str], float]) -> dict[str, Any]:
    """The final numbers as a table: a row for each group and a column for each name, or a row for each number."""
    groups = list(dict.fromkeys(group for group, _ in metrics))
    names = list(dict.fromkeys(name for _, name in metrics))
    if len(names) <= 6 and len(metrics) > 0.6 * len(names) * len(groups):
        return {"header": names, "rows": [(group, [metrics.get((group, name)) for name in names]) for group in groups]}
    return {
        "header": ["value"],
        "rows": [(f"{group} {name}".strip(), [value]) for (group, name), value in metrics.items()],
    }


def last_rows(run: RunRecord) -> list[tuple[str, dict[str, Any]]]:
    """The last row of each split, for a run that has no result."""
    return list({row["split"]: row for row in run.rows}.items())


def all_rows(run: RunRecord) -> dict[str, Any]:
    """What `metrics.jsonl` holds, as a table, unless it is too large for a page."""
    names = metric_names(run.rows)
    return {"names": names, "shown": run.rows if (len(names) + 3) * len(run.rows) <= _MOST_CELLS else []}


def gradient_rows(text: str) -> dict[str, Any]:
    """The columns and rows of `gradients.txt`, as `gradient_table` writes it; the rest are notes."""
    header, *lines = text.rstrip("\n").split("\n")
    rows = [re.split(r"\s{2,}", line) for line in lines if re.search(r"\s\d+%|\snan%", line)]
    notes = [line for line in lines if not re.search(r"\s\d+%|\snan%", line)]
    return {"header": re.split(r"\s{2,}", header.strip()), "rows": rows, "notes": notes}


def packages_of(result: Mapping[str, Any]) -> list[str]:
    """What to install, without the library itself if its code was that of a commit."""
    without = ("python", "jaxnets") if result["commit"] else ("python",)
    return [f"{name}=={version}" for name, version in result.get("versions", {}).items() if name not in without]


def parts_of(seconds: Mapping[str, float]) -> list[Part]:
    """The seconds of a run by part, in the order in which they come."""
    known = {name: value for name, value in seconds.items() if name != "run"}
    inside = sum(value for name, value in known.items() if name not in ("compile", "drawing"))
    if "run" in seconds:
        rest = max(seconds["run"] - inside, 0.0)
        known["other" if inside else "run"] = rest
    total = sum(known.values())
    order = [name for name in _PARTS if name in known] + [name for name in known if name not in _PARTS]
    return [Part(_PARTS.get(name, name), known[name], known[name] / total if total else 0.0) for name in order]


def total_seconds(seconds: Mapping[str, float]) -> float:
    """Everything, with compilation and drawing."""
    return sum(seconds.get(part, 0.0) for part in ("compile", "run", "drawing"))


def environment_of(result: Mapping[str, Any]) -> dict[str, str]:
    """Where a run was made: versions and machine."""
    device = result.get("device", {})
    found = {name: str(version) for name, version in result.get("versions", {}).items()}
    if device:
        kind = device.get("kind") if device.get("kind") != device.get("platform") else ""
        found["device"] = " ".join(
            str(part) for part in (device.get("count"), "x", device.get("platform"), kind) if part
        )
    for name, words in (("processor", "processor"), ("cores", "cores used"), ("system", "system")):
        if name in device:
            found[words] = str(device[name])
    return found
