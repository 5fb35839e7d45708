"""Losses before and after one step from the same weights; `python -m benchmarks.one_step CASE PEER` prints them.

The case is reduced to one batch, and its `ONE_STEP` disables random parts such as dropout.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

TOLERANCES = {"the loss": 1e-4, "its change by a step": 0.01}
"""The compared quantities and their relative tolerances; a case of another kind or precision has its own."""


def measure(case: str, peer: str) -> list[float]:
    """The quantities of a peer, computed in its own process."""
    command = [sys.executable, "-m", "benchmarks.one_step", case, peer]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{case}/{peer} failed:\n{done.stderr}")
    found: list[float] = json.loads(done.stdout)
    return found


def check(case_name: str, peers: Sequence[str]) -> str:
    """Compare the peers' losses with ours.

    Args:
        case_name: a folder of `benchmarks`.
        peers: the names of its programs; the first is ours.

    Returns:
        A sentence with our results and the largest difference.

    Raises:
        RuntimeError: if one of them differs by more than the tolerance, or a program fails.
    """
    tolerances = getattr(importlib.import_module(f"benchmarks.{case_name}"), "TOLERANCES", TOLERANCES)
    print(f"  comparing the losses of {', '.join(peers)}", file=sys.stderr)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ours, *others = pool.map(functools.partial(measure, case_name), peers)
    parts = []
    for i, (quantity, tolerance) in enumerate(tolerances.items()):
        gaps = {peer: abs(theirs[i] / ours[i] - 1) for peer, theirs in zip(peers[1:], others, strict=True)}
        for peer, gap in gaps.items():
            if not gap <= tolerance:
                raise RuntimeError(f"{case_name}/{peer}: {quantity} differs from {ours[i]} by a relative {gap}")
        parts.append(f"{quantity} {ours[i]:.6g} (others within {max(gaps.values()):.1g} of it)")
    return f"Compared first, from the same weights, on one batch: {', '.join(parts)}."


def two_losses(run: Callable[[int], float]) -> list[float]:
    """The loss of the given weights, and its change by one step."""
    before, after = run(1), run(1)
    return [before, after - before]


def main() -> None:
    """Reduce the case, take two steps, and print what the check compares."""
    case_name, peer = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # other output of libraries is not an answer
    case = importlib.import_module(f"benchmarks.{case_name}")
    for name, value in {"STEPS": 1, "BATCHES": 1, **getattr(case, "ONE_STEP", {})}.items():
        setattr(case, name, value)
    prepared = importlib.import_module(f"benchmarks.{case_name}.{peer}").prepare(case.weights(), *case.data())
    results = prepared.results() if prepared.results else two_losses(prepared.run)
    print(json.dumps(results), file=answers, flush=True)


if __name__ == "__main__":
    main()
