"""The time of `import jaxnets`, `import jax` and others, in fresh processes that take turns."""

from __future__ import annotations

import statistics
import subprocess
import sys

PROGRAM = "import time; started = time.perf_counter(); import {0}; print(time.perf_counter() - started)"
PACKAGES = ("jax", "jaxnets", "jaxnets.training", "optax", "flax.linen", "torch")


def import_seconds(rounds: int) -> dict[str, list[float]]:
    """Measure every package of PACKAGES `rounds` times."""
    seconds: dict[str, list[float]] = {package: [] for package in PACKAGES}
    for turn in range(rounds + 1):
        for package, collected in seconds.items():
            command = [sys.executable, "-c", PROGRAM.format(package)]
            elapsed = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            if turn:  # the first round fills the disk cache
                collected.append(elapsed)
    return seconds


def import_table(rounds: int) -> str:
    """The measurement as a Markdown table."""
    lines = ["| package | median s | min | max |", "|---|---|---|---|"]
    for package, collected in import_seconds(rounds).items():
        numbers = (statistics.median(collected), min(collected), max(collected))
        lines.append(f"| `import {package}` | " + " | ".join(f"{number:.3f}" for number in numbers) + " |")
    return "\n".join(lines)
