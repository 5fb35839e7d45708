"""The table of `python -m benchmarks cpu --only to_result`: programs in turns, each seed in its own process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks.to_result import ACCURACIES, LOSSES


def run(program: str, seed: int) -> tuple[float, float]:
    """The seconds of a process, and its result."""
    command = [sys.executable, "-m", f"benchmarks.to_result.{program}", str(seed)]
    started = time.perf_counter()
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return time.perf_counter() - started, float(printed.split()[-1])


def result_table(case: str, seeds: int) -> str:
    """Jaxnets and PyTorch on a case of `ACCURACIES` or `LOSSES`."""
    reached: Callable[[float], bool]
    if case in ACCURACIES:
        what, reached = f"test accuracy of {ACCURACIES[case]}", lambda value: value >= ACCURACIES[case]
    else:
        what, reached = f"validation loss of {LOSSES[case]}", lambda value: value <= LOSSES[case]
    found: dict[str, list[tuple[float, float]]] = {"jaxnets": [], "pytorch": []}
    for seed in range(seeds):
        for name, runs in found.items():
            print(f"  {case}, {name}, seed {seed}", file=sys.stderr)
            runs.append(run(f"{case}_{name}", seed))
    lines = [
        f"| program | n | median s | min | max | mean result | worst | best | reached a {what} | jaxnets / program |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    ours = statistics.median(seconds for seconds, _ in found["jaxnets"])
    for name, runs in found.items():
        seconds, results = zip(*runs, strict=True)
        median, ordered = statistics.median(seconds), sorted(results, reverse=case in LOSSES)
        cells = [name, str(seeds), f"{median:.1f}", f"{min(seconds):.1f}", f"{max(seconds):.1f}"]
        cells += [f"{statistics.mean(results):.4f}", f"{ordered[0]:.4f}", f"{ordered[-1]:.4f}"]
        cells += [f"{sum(map(reached, results))} of {seeds}", f"{ours / median:.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
