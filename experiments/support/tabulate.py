"""Tabulate finished runs, mean and deviation over seeds: `python -m experiments.support.tabulate RUN_FOLDER ...`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from jaxnets.report.pages.groups import spread
from jaxnets.report.pages.record import flat_metrics
from jaxnets.report.strict_json import read_object

NOT_SETTINGS = ("seed", "out", "smoke")


def read_runs(folders: Iterable[Path]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The results by experiment and settings, those of different seeds together."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for folder in folders:
        if not (folder / "result.json").is_file():
            sys.exit(f"{folder} has no result.json: its run has not ended, or it is not the folder of a run")
        result, config = read_object(folder / "result.json"), read_object(folder / "config.json")
        settings = ", ".join(f"{name} {value}" for name, value in config.items() if name not in NOT_SETTINGS)
        groups.setdefault((result["experiment"], settings), []).append(result)
    return {key: sorted(runs, key=lambda run: run["seed"]) for key, runs in groups.items()}


def number(value: float) -> str:
    """Four decimals, or two digits of what would be lost by that; `nan` and `inf` as they are."""
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.1e}"


def row(name: str, values: Sequence[float]) -> str:
    """A metric's line of the table: NaN if one of the values is."""
    found = spread(values)
    deviation = "" if found.deviation is None else number(found.deviation)
    cells = [number(found.mean), deviation, number(found.smallest), number(found.largest)]
    return "| " + " | ".join([name, str(found.n), *cells]) + " |"


def table(groups: dict[tuple[str, str], list[dict[str, Any]]]) -> str:
    """A Markdown section for each experiment with given settings."""
    sections = []
    for (experiment, settings), runs in groups.items():
        seeds = ", ".join(str(run["seed"]) for run in runs)
        lines = [f"### {experiment}", "", f"{settings}; seeds {seeds}", ""]
        lines += ["| metric | n | mean | standard deviation | min | max |", "|---|---|---|---|---|---|"]
        columns = [flat_metrics(run["metrics"]) for run in runs]
        for name in dict.fromkeys(name for column in columns for name in column):
            lines.append(row(" ".join(name).strip(), [column[name] for column in columns if name in column]))
        seconds = [run["seconds"]["compile"] + run["seconds"]["run"] for run in runs]
        versions, device = runs[0]["versions"], runs[0]["device"]
        commits = ", ".join(dict.fromkeys((run["commit"] or "unknown")[:12] for run in runs))
        fingerprints = ", ".join(f"{run['seed']}: `{run['fingerprint'][:12]}`" for run in runs)
        lines += [
            "",
            f"{min(seconds):,.0f} to {max(seconds):,.0f} s per run; jax {versions['jax']}, "
            f"Python {versions['python']}, {device['count']} x {device['kind']}; commit {commits}; "
            f"fingerprints by seed: {fingerprints}",
        ]
        sections.append("\n".join(lines))
    return "\n\n".join(sections)


def main() -> None:
    """Print the tables of the folders named on the command line."""
    if len(sys.argv) < 2:
        sys.exit("name at least one folder of a finished run, such as runs/digits_cnn/*")
    print(table(read_runs(Path(name) for name in sys.argv[1:])))


if __name__ == "__main__":
    main()
