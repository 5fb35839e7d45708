"""`python -m experiments`: list the experiments, one line each."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

SHARED = (
    "cifar",
    "__init__",
    "__main__",
    "command_line",
    "classifier",
    "tabulate",
    "playground_figures",
    "playground_network",
    "playground_survey",
)


def experiments() -> dict[str, str]:
    """The first line of what each experiment says about itself, by name."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    documents = {file.stem: ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) for file in files}
    return {name: (text or "").splitlines()[0] for name, text in documents.items() if name not in SHARED}


def main() -> None:
    """Print the list."""
    found = experiments()
    if len(sys.argv) > 1:
        sys.exit(f"write it as one word: python -m experiments.{' '.join(sys.argv[1:])}")
    width = max(map(len, found))
    for name, line in found.items():
        print(f"{name:{width}}  {line}")
    print("\nRun one with `python -m experiments.NAME`; `--help` shows its options, `--smoke` takes a few steps only.")


if __name__ == "__main__":
    main()
