"""The command line: `python -m jaxnets COMMAND`, or `jaxnets COMMAND`."""

from __future__ import annotations

import importlib
import sys
from typing import NamedTuple


class Command(NamedTuple):
    """A command.

    Attributes:
        module: has `main(arguments)`; it is imported when the command is called.
        line: what it does.
    """

    module: str
    line: str


COMMANDS = {
    "plan": Command("jaxnets.plan.command", "what a training step needs on TPUs: memory, time, price; none is needed"),
}
"""The commands by name."""


def main(arguments: list[str] | None = None) -> None:
    """Run a command, or list them."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        print("\n".join(f"python -m jaxnets {name:{width}}  {command.line}" for name, command in COMMANDS.items()))
        return
    if words[0] not in COMMANDS:
        sys.exit(f"jaxnets: there is no command {words[0]!r}; the commands are {', '.join(COMMANDS)}")
    importlib.import_module(COMMANDS[words[0]].module).main(words[1:])


if __name__ == "__main__":
    main()
