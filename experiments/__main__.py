"""List the experiments, one line each: `python -m experiments`."""

from __future__ import annotations

import ast
import sys
from pathlib import Path


def experiments() -> dict[str, str]:
    """The first line of each experiment's docstring, by name: every script in this folder is an experiment."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    documents = {file.stem: ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) for file in files}
    return {name: (text or "").splitlines()[0] for name, text in documents.items()}


def main() -> None:
    """Print the list."""
    found = experiments()
    if len(sys.argv) > 1:
        sys.exit(f"write it as one word: python -m experiments.{' '.join(sys.argv[1:])}")
    width = max(map(len, found))
    for name, line in found.items():
        print(f"{name:{width}}  {line}")
    print("\nRun one with `python -m experiments.NAME`; `--help` shows its options, `--smoke` does very little of it.")
    print("Make a table of finished runs with `python -m experiments.support.tabulate RUN_FOLDER ...`.")


if __name__ == "__main__":
    main()
