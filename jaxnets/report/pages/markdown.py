"""A comparison in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from jaxnets.report.pages.record import number

if TYPE_CHECKING:
    from jaxnets.report.pages.comparison import Comparison


def comparison_in_markdown(comparison: Comparison) -> str:
    """Write the tables of a comparison; settings that differ are bold."""
    from jaxnets.report.pages.comparison import (
        environment_table,
        run_number_names,
        runs_table,
        settings_table,
        spread_words,
    )

    groups = comparison.groups
    letters = [group.letter for group in groups]
    sections = [f"# {escaped(comparison.title)}", *(f"> {escaped(warning)}" for warning in comparison.warnings)]
    described = [[group.letter, group.label, len(group.runs), ", ".join(map(str, group.seeds))] for group in groups]
    sections += ["## Groups", table(["group", "what differs", "runs", "seeds"], described)]
    results = [[name, *map(spread_words, found)] for name, found in comparison.results().items()]
    if results:
        words = "Mean ± standard deviation (n - 1) of the finished runs of a group; the smallest and the largest."
        sections += ["## Results", words, table(["metric", *letters], results)]
    settings = settings_table(groups)
    bold = [i for i, row in enumerate(settings) if row["differs"]]
    sections += ["## Settings", table(["setting", *letters], [[row["name"], *row["words"]] for row in settings], bold)]
    names = run_number_names(groups)
    header = ["group", "seed", "folder", "state", *(" ".join(name).strip() for name in names), "time", "date, UTC"]
    runs = []
    for run in runs_table(groups, names):
        numbers = map(number, run["numbers"])
        first = (letters[run["group"]], run["seed"], run["folder"], run["state"])
        runs.append([*first, *numbers, run["time"], run["date"], run["fingerprint"]])
    sections += ["## Runs", table([*header, "fingerprint"], runs)]
    environment = environment_table(groups)
    bold = [i for i, row in enumerate(environment) if len(row["words"]) > 1]
    if environment:
        values = [[row["name"], "; ".join(map(_with_runs, row["words"]))] for row in environment]
        sections += ["## Environment", table(["what", "values"], values, bold)]
    return "\n\n".join(sections) + "\n"


def _with_runs(value: tuple[str, str]) -> str:
    words, runs = value
    return f"{words} ({runs})"


def table(header: Sequence[Any], rows: Sequence[Sequence[Any]], bold: Sequence[int] = ()) -> str:
    r"""A table of Markdown, with all text escaped, and the rows of some numbers in bold.

    Example:
        >>> print(table(["name", "n"], [["a|b", 1], ["c", 2]], bold=[1]))
        | name | n |
        | --- | --- |
        | a\|b | 1 |
        | **c** | **2** |
    """
    lines = [map(escaped, header), ["---"] * len(header)]
    for i, row in enumerate(rows):
        lines.append([f"**{cell}**" if i in bold and cell else cell for cell in map(escaped, row)])
    return "\n".join(map(_line, lines))


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: Any) -> str:
    r"""Text with what Markdown and HTML would take for something else marked as text.

    Example:
        >>> print(escaped("<b>*a*|"))
        \<b\>\*a\*\|
    """
    words = str(text)
    for sign in "\\`*_[]<>|&~":
        words = words.replace(sign, f"\\{sign}")
    return words.replace("\r", " ").replace("\n", " ")
