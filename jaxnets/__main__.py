"""The commands of the library: `python -m jaxnets COMMAND`, or `jaxnets COMMAND` where it is installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from jaxnets.console import library_command, user_errors

COMMANDS = {
    "train": ("jaxnets.experiment.digits_cnn", "train a small network on handwritten digits, which need no download"),
    "plan": ("jaxnets.plan.command", "say what a training step needs on TPUs, none of which is needed for it"),
    "playground": ("jaxnets.playground.command", "open a page in the browser that trains small networks"),
    "prepare": ("jaxnets.prepare", "write a data set into shards, for training on data larger than memory"),
    "report": ("jaxnets.report.pages.report_command", "write the report of a run, one page that holds all it shows"),
    "compare": ("jaxnets.report.pages.compare_command", "put runs side by side: curves, means over seeds, differences"),
}
"""The module of each command, imported when it is called, with `main(words)`; and what it does."""


def main(words: Sequence[str] | None = None) -> None:
    """Run a command, or list all.

    Args:
        words: of the command line; by default those of the process.
    """
    words = sys.argv[1:] if words is None else words
    command = library_command()
    if words and words[0] in COMMANDS:
        with user_errors(f"{command} {words[0]}"):
            importlib.import_module(COMMANDS[words[0]][0]).main(words[1:])
        return
    lines = [f"usage: {command} COMMAND [...]; {command} COMMAND --help says more", ""]
    lines += [f"  {name:<11} {what}" for name, (_, what) in COMMANDS.items()]
    if words and words[0] not in ("-h", "--help"):
        print("\n".join([f"{command}: there is no command {words[0]!r}", *lines]), file=sys.stderr)
        sys.exit(2)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
