"""Same weights in, same losses out, before and after one step: `python -m benchmarks.one_step CASE PEER` prints them.

The case is reduced to one batch, and its `ONE_STEP` takes out what is drawn at random.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

QUANTITIES = ("the loss in evaluation mode", "that of the first training step", "its change by that step")
TOLERANCE, CHANGE_TOLERANCE = 1e-4, 0.01
"""Relative, of the two losses and of the change; a case of lower precision names its own."""


def measure(case: str, peer: str) -> list[float]:
    """The quantities of a peer, computed in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.one_step", case, peer]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{case}/{peer} failed:\n{done.stderr}")
    evaluated, first, second = json.loads(done.stdout)
    return [evaluated, first, second - first]


def check(case_name: str, peers: Sequence[str]) -> str:
    """Compare the peers' losses with ours.

    Args:
        case_name: a folder of `benchmarks`.
        peers: the names of its programs; the first is ours.

    Returns:
        A sentence with the losses and the largest difference.

    Raises:
        RuntimeError: if a loss differs by more than the tolerance, or a program fails.
    """
    case = importlib.import_module(f"benchmarks.{case_name}")
    tolerance = getattr(case, "TOLERANCE", TOLERANCE)
    tolerances = (tolerance, tolerance, getattr(case, "CHANGE_TOLERANCE", CHANGE_TOLERANCE))
    print(f"  comparing the losses of {', '.join(peers)}", file=sys.stderr)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ours, *others = pool.map(functools.partial(measure, case_name), peers)
    parts = []
    for i, quantity in enumerate(QUANTITIES):
        gaps = {peer: abs(theirs[i] / ours[i] - 1) for peer, theirs in zip(peers[1:], others, strict=True)}
        for peer, gap in gaps.items():
            if not gap <= tolerances[i]:
                raise RuntimeError(f"{case_name}/{peer}: {quantity} differs from {ours[i]} by the part {gap} of it")
        parts.append(f"{quantity} {ours[i]:.6g} (others within {max(gaps.values()):.1g} of it)")
    return f"Compared first, from the same weights, on one batch: {', '.join(parts)}."


def main() -> None:
    """Take two steps on one batch and print three losses."""
    case_name, peer = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is not an answer
    case = importlib.import_module(f"benchmarks.{case_name}")
    for name, value in {"STEPS": 1, "BATCHES": 1, **getattr(case, "ONE_STEP", {})}.items():
        setattr(case, name, value)
    prepared = importlib.import_module(f"benchmarks.{case_name}.{peer}").prepare(case.weights(), *case.data())
    print(json.dumps([prepared.loss, prepared.run(1), prepared.run(1)]), file=answers, flush=True)


if __name__ == "__main__":
    main()
