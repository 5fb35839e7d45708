"""`python -m jaxnets compare RUN...`: put runs side by side, in HTML, PNG and Markdown."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from jaxnets.console import library_command


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog=f"{library_command()} compare",
        description="Put runs side by side: curves, means and spreads over seeds, and the settings that differ. Writes "
        "compare.html, compare.png and compare.md.",
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs, such as runs/digits_cnn/*")
    parser.add_argument("--out", type=Path, default=Path("comparison"), help="the folder to write into (comparison)")
    return parser


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line and write the comparison."""
    from jaxnets.report.pages.comparison import compare_runs

    parser = make_parser()
    asked = parser.parse_args(words)
    try:
        for file in compare_runs(asked.runs).write(asked.out):
            print(file)
    except (ValueError, OSError, ImportError) as error:
        parser.exit(1, f"{parser.prog}: {' '.join(str(error).split())}\n")


if __name__ == "__main__":
    main()
