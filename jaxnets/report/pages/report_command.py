"""`python -m jaxnets report RUN`: write the report of a run, one HTML file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from jaxnets.console import library_command


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog=f"{library_command()} report",
        description="Write the report of a run, finished or not: one HTML file with its settings, numbers, curves and "
        "pictures, and how to reproduce it. It needs no network.",
    )
    parser.add_argument("run", type=Path, help="the folder of a run, such as runs/digits_cnn/20260131-120000-seed0")
    parser.add_argument("--out", type=Path, help="the file to write; by default report.html in the folder")
    return parser


def main(words: Sequence[str] | None = None) -> None:
    """Read the command line and write the report."""
    from jaxnets.report.pages.run_page import write_report

    parser = make_parser()
    asked = parser.parse_args(words)
    try:
        print(write_report(asked.run, asked.out))
    except (ValueError, OSError, ImportError) as error:
        parser.exit(1, f"{parser.prog}: {' '.join(str(error).split())}\n")


if __name__ == "__main__":
    main()
