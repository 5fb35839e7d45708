"""The wall time of whole processes, from their start to their end."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time


def time_process(command: list[str]) -> float:
    """Seconds that a command takes."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def pima_table(rounds: int) -> str:
    """The Pima program in fresh processes: PyTorch, jaxnets, and jaxnets with its compiled programs kept."""
    script = [sys.executable, "-m", "benchmarks.pima_mlp.script"]
    with tempfile.TemporaryDirectory() as cache:
        commands = {
            "pytorch": [*script, "pytorch"],
            "jaxnets": [*script, "jaxnets"],
            "jaxnets, compilation cache warm": [*script, "jaxnets", cache],
        }
        for command in commands.values():  # reads the files from disk once, and fills the cache
            time_process(command)
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                seconds[name].append(time_process(command))
    reference = statistics.median(seconds["pytorch"])
    lines = ["| program | n | median s | min | max | program / pytorch |", "|---|---|---|---|---|---|"]
    for name, values in seconds.items():
        numbers = f"{statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f}"
        lines.append(f"| {name} | {len(values)} | {numbers} | {statistics.median(values) / reference:.3f} |")
    return "\n".join(lines)


def training_table(table: str, number: int) -> str:
    """A table of `benchmarks.training`, which needs a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training", table, str(number)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
