"""The wall time of whole processes."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.compare import compare

DEEP_AND_QUARTER = (("resnet152", "resnet_quarter"), ("transformer48", "transformer12"))
"""Networks of `benchmarks.compile_time`."""


def time_process(command: list[str]) -> float:
    """Seconds that a command takes."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def process_table(case: str, steps: int, rounds: int) -> str:
    """A case in fresh processes: PyTorch, jaxnets, and jaxnets with a warm compilation cache."""
    script = [sys.executable, "-m", "benchmarks.script", case]
    with tempfile.TemporaryDirectory() as cache:
        commands = {
            "pytorch": [*script, "pytorch", str(steps)],
            "jaxnets": [*script, "jaxnets", str(steps)],
            "jaxnets, compilation cache warm": [*script, "jaxnets", str(steps), cache],
        }
        for command in commands.values():  # loads the files from disk once, and fills the cache
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


def module_table(module: str, table: str, number: int) -> str:
    """A table of `benchmarks.training` or `benchmarks.data`, which needs its own process."""
    command = [sys.executable, "-m", f"benchmarks.{module}", table, str(number)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def seeds_table(rounds: int) -> str:
    """Many networks of a case at once: 64 perceptrons for 100 epochs, and 8 convolutional networks for 20 steps."""
    lines = [
        "| case | networks | by | n | median s | min | max | PyTorch s, one network | jaxnets / as many PyTorch runs |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case, count in (("pima_mlp", 64), ("mnist_cnn", 8)):
        command = [sys.executable, "-m", "benchmarks.seeds", case, str(count), str(rounds)]
        found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        theirs, _ = compare(case, rounds, [("shipped", ["pytorch"]), ("shipped", ["jaxnets"])])
        one = theirs.median * found["steps"] / 1000
        for networks, by in ((1, "one"), (count, "vmap"), (count, "map")):
            seconds = found[by]
            median = statistics.median(seconds)
            numbers = f"{median:.3f} | {min(seconds):.3f} | {max(seconds):.3f} | {one:.3f}"
            lines.append(
                f"| {case} | {networks} | {by} | {len(seconds)} | {numbers} | 1/{networks * one / median:,.1f} |"
            )
    return "\n".join(lines)


def compile_table(rounds: int) -> str:
    """Each network in fresh processes, in turns."""
    seconds: dict[str, list[float]] = {name: [] for pair in DEEP_AND_QUARTER for name in pair}
    for _ in range(rounds):
        for name, values in seconds.items():
            command = [sys.executable, "-m", "benchmarks.compile_time", name]
            values.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    lines = ["| network | n | median s | min | max | deep / quarter |", "|---|---|---|---|---|---|"]
    for deep, quarter in DEEP_AND_QUARTER:
        for name in (deep, quarter):
            values = seconds[name]
            cells = [name, str(rounds), f"{medians[name]:.2f}", f"{min(values):.2f}", f"{max(values):.2f}"]
            lines.append("| " + " | ".join([*cells, f"{medians[name] / medians[quarter]:.2f}"]) + " |")
    return "\n".join(lines)
