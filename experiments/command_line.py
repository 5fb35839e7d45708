"""What the experiments have in common: options from a dataclass, and what Ctrl-C does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import tyro

from jaxnets.training import Interrupted

Config = TypeVar("Config")


def main(config_class: type[Config], run: Callable[[Config], Any], description: str | None) -> None:
    """Read the options, run the experiment, and say how to go on if it is interrupted."""
    config = tyro.cli(config_class, description=description)
    try:
        run(config)
    except Interrupted as interrupted:
        print(f"{interrupted}; run the same command again to go on", file=sys.stderr)
        sys.exit(128 + interrupted.signal_number)
