"""Several runs side by side: groups of seeds, their means and spreads, and what differs between them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxnets.html_table import html_table
from jaxnets.report.pages.curves import Chart, Series, as_data, metric_names, points_of, thinned
from jaxnets.report.pages.groups import (
    Group,
    Spread,
    differences,
    group_runs,
    mean_curve,
    names_of_experiments,
    repeated_seeds,
    settings_of,
    spreads,
)
from jaxnets.report.pages.record import RunRecord, number, read_run, setting
from jaxnets.report.pages.render import render
from jaxnets.report.pages.run_page import environment_of, total_seconds
from jaxnets.report.progress import format_seconds
from jaxnets.report.strict_json import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_RUN_NUMBERS = 4


class Comparison(NamedTuple):
    """Runs in groups that differ in their seed only; see `compare_runs`. A notebook shows the table of results.

    Attributes:
        groups: in the order in which their first runs were given.
    """

    groups: list[Group]

    @property
    def title(self) -> str:
        """What is compared."""
        runs = [run for group in self.groups for run in group.runs]
        experiments = names_of_experiments(runs)
        groups = f" in {len(self.groups)} groups" if len(self.groups) > 1 else ""
        return f"{' and '.join(experiments)}: {len(runs)} run{'s' * (len(runs) != 1)}{groups}"

    @property
    def warnings(self) -> list[str]:
        """What makes the numbers mean less than they seem to."""
        found = [
            f"Group {group.letter} has seed {', '.join(map(str, repeated_seeds(group)))} more than once: those are "
            "no independent repetitions, so the spread comes out too small."
            for group in self.groups
            if repeated_seeds(group)
        ]
        for run in (run for group in self.groups for run in group.runs):
            if run.result is None:
                found.append(f"{run.path} has not finished: its curves are shown, its numbers are in no mean.")
            found += run.warnings
        return found

    def results(self) -> dict[str, list[Spread | None]]:
        """The spread of each final number in each group; None where no finished run has it."""
        found = [spreads(group) for group in self.groups]
        names = dict.fromkeys(name for of_group in found for name in of_group)
        return {" ".join(name).strip(): [of_group.get(name) for of_group in found] for name in names}

    def markdown(self) -> str:
        """Write all tables in Markdown."""
        from jaxnets.report.pages.markdown import comparison_in_markdown

        return comparison_in_markdown(self)

    def html(self) -> str:
        """Write the page: one file that needs no network and no other file."""
        charts = thinned(charts_of_groups(self.groups))
        names = run_number_names(self.groups)
        return render(
            "compare.html",
            title=self.title,
            warnings=self.warnings,
            groups=self.groups,
            results=list(self.results().items()),
            charts=as_data(charts),
            settings=settings_table(self.groups),
            names=[" ".join(name).strip() for name in names],
            runs=runs_table(self.groups, names),
            environment=environment_table(self.groups),
        )

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the curves of all runs and the means of groups, a panel for each metric and split.

        Args:
            path: the file to write, if any; the suffix decides the format.

        Raises:
            ValueError: if no run has a curve.
        """
        from jaxnets.report.pages.comparison_figure import plot_comparison

        return plot_comparison(self.groups, path)

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write `compare.html`, `compare.md` and, if there are curves, `compare.png`; returns their paths."""
        into = Path(folder).expanduser()
        into.mkdir(parents=True, exist_ok=True)
        written = [into / "compare.html", into / "compare.md"]
        for file, text in zip(written, (self.html(), self.markdown()), strict=True):
            write_atomically(file, text)
        if charts_of_groups(self.groups):
            written.append(into / "compare.png")
            self.plot(written[-1])
        return written

    def _repr_html_(self) -> str:
        header = ["metric", *(f"{group.letter}: {group.label}" for group in self.groups)]
        rows = [[name, *map(spread_words, found)] for name, found in self.results().items()]
        return html_table(header, rows, notes=self.warnings)


def compare_runs(runs: Iterable[str | os.PathLike[str]]) -> Comparison:
    """Put runs side by side: means and spreads over seeds, and what differs.

    Runs of one experiment whose settings differ in nothing but `seed` (and `out`) are a group.

    Args:
        runs: folders of runs, finished or not.

    Returns:
        The comparison; `write(folder)` writes it as a page, a figure and Markdown.

    Raises:
        RunFolderError: a ValueError, if one is not the folder of a run.
        ValueError: if there are no runs, one is given twice, or one has a damaged file.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for seed, accuracy in ((0, 0.5), (1, 0.7)):
        ...         run = Path(folder) / str(seed)
        ...         run.mkdir()
        ...         _ = (run / "config.json").write_text(json.dumps({"seed": seed}))
        ...         result = {"experiment": "example", "metrics": {"test": {"accuracy": accuracy}}}
        ...         _ = (run / "result.json").write_text(json.dumps(result))
        ...     comparison = compare_runs([Path(folder) / "0", Path(folder) / "1"])
        >>> [(name, spread.n, round(spread.mean, 3)) for name, [spread] in comparison.results().items()]
        [('test accuracy', 2, 0.6)]
    """
    records = [read_run(run) for run in runs]
    if not records:
        raise ValueError("compare_runs: give the folders of two runs or more, such as runs/digits_cnn/*")
    places = [record.path.resolve() for record in records]
    if twice := [record.path for record, place in zip(records, places, strict=True) if places.count(place) > 1]:
        raise ValueError(f"compare_runs: {twice[0]} is given {len(twice)} times; name each run once")
    return Comparison(group_runs(records))


def spread_words(found: Spread | None) -> str:
    """A spread in one cell.

    Example:
        >>> spread_words(Spread(3, 0.9944, 0.0074, 0.9861, 1.0)), spread_words(Spread(1, 0.5, None, 0.5, 0.5))
        ('0.9944 ± 0.0074 (n 3, 0.9861 to 1)', '0.5 (n 1)')
    """
    if found is None:
        return ""
    deviation = "" if found.deviation is None else f" ± {number(found.deviation)}"
    ends = f", {number(found.smallest)} to {number(found.largest)}" if found.n > 1 else ""
    return f"{number(found.mean)}{deviation} (n {found.n}{ends})"


def charts_of_groups(groups: Sequence[Group]) -> list[Chart]:
    """A chart for each metric and split: a line for each run, and the mean of groups of several."""
    rows = [row for group in groups for run in group.runs for row in run.rows]
    splits = [split for split in ("train", "validation", "test") if any(row["split"] == split for row in rows)]
    charts = []
    for name in metric_names(rows):
        for split in splits:
            series = [line for i, group in enumerate(groups) for line in series_of(group, i, name, split)]
            if any(len(line.points) > 1 for line in series):
                charts.append(Chart(f"{name}, {split}", series))
    return charts


def series_of(group: Group, color: int, name: str, split: str) -> list[Series]:
    """The lines of a group: one run, or thin lines of the runs and their mean."""
    curves = [(run, points) for run in group.runs if (points := points_of(run.rows, name, split))]
    if len(curves) < 2:
        return [Series(f"{group.letter}: {group.label}, seed {run.seed}", points, color) for run, points in curves]
    thin = [Series(f"{group.letter}, seed {run.seed}", points, color, "thin") for run, points in curves]
    means, band = mean_curve(group, name, split)
    return [*thin, Series(f"{group.letter}: {group.label}, mean of {len(curves)}", means, color, "mean", band)]


def settings_table(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """All settings, those that differ first."""
    configs = [settings_of(group.runs[0]) for group in groups]
    different = differences([group.runs[0] for group in groups])
    names = [*different, *dict.fromkeys(name for config in configs for name in config if name not in different)]
    rows = []
    for name in names:
        words = [setting(config[name]) if name in config else "(not there)" for config in configs]
        rows.append({"name": name, "differs": name in different, "words": words})
    return rows


def run_number_names(groups: Sequence[Group]) -> list[tuple[str, str]]:
    """The final numbers that the table of runs shows, those of the test split first."""
    names = list(dict.fromkeys(name for group in groups for run in group.runs for name in run.metrics))
    order = ("test", "validation")
    names.sort(key=lambda name: order.index(name[0]) if name[0] in order else len(order))
    return names[:_RUN_NUMBERS]


def runs_table(groups: Sequence[Group], names: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """A row for each run."""
    return [_run_row(i, run, names) for i, group in enumerate(groups) for run in group.runs]


def _run_row(group: int, run: RunRecord, names: Sequence[tuple[str, str]]) -> dict[str, Any]:
    result = run.result or {}
    return {
        "group": group,
        "seed": run.seed,
        "folder": str(run.path),
        "state": "finished" if run.result else "not finished",
        "numbers": [run.metrics.get(name) for name in names],
        "time": format_seconds(total_seconds(result["seconds"])) if "seconds" in result else "",
        "date": str(result.get("date") or "").replace("T", " ").replace("+00:00", ""),
        "fingerprint": str(result.get("fingerprint") or "")[:12],
    }


def environment_table(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Versions and machines, each value with the runs that have it; numbers of different ones may differ a little."""
    found: dict[str, dict[str, list[str]]] = {}
    for group in groups:
        for run in group.runs:
            result = run.result or {}
            for name, words in {**environment_of(result), "commit": str(result.get("commit") or "")}.items():
                if words:
                    found.setdefault(name, {}).setdefault(words, []).append(f"{group.letter} seed {run.seed}")
    return [
        {"name": name, "words": [(w, ", ".join(runs)) for w, runs in words.items()]} for name, words in found.items()
    ]
