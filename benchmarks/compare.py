"""Run the peers of one case in turns and tabulate medians and ratios."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple


class Timing(NamedTuple):
    """The timings of one peer.

    Attributes:
        peer: its name.
        environment: `"shipped"`, or `"same"`: with the allocator setting that jaxnets applies.
        milliseconds: of one step, one number per round.
        peak_mebibytes: the largest resident memory of its process.
    """

    peer: str
    environment: str
    milliseconds: list[float]
    peak_mebibytes: float

    @property
    def median(self) -> float:
        """The median over the rounds, in milliseconds per step."""
        return statistics.median(self.milliseconds)


class Worker:
    """A process with one peer or several, of this Python or another one, with its own flags of XLA if there are any."""

    def __init__(
        self,
        case: str,
        environment: str,
        peers: Sequence[str],
        *,
        python: str = sys.executable,
        xla_flags: str | None = None,
    ):
        self.environment = environment
        command = [python, "-m", "benchmarks.worker", case, environment, *peers]
        variables = os.environ if xla_flags is None else os.environ | {"XLA_FLAGS": xla_flags}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables
        )
        self.steps: dict[str, int] = self._answer()

    def run(self, peer: str) -> dict[str, float]:
        """Time one round of a peer."""
        self._process.stdin.write(f"{peer} {self.steps[peer]}\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise RuntimeError(f"a process of peers ended:\n{self._process.communicate()[1]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def compare(
    case_name: str, rounds: int, processes: Sequence[tuple[str, Sequence[str]]], *, launches: int = 1
) -> list[Timing]:
    """Time the peers of a case, one after the other within each round, in an order that rotates.

    Args:
        case_name: a folder of `benchmarks`.
        rounds: how often each peer is timed per launch.
        processes: pairs (environment, peers) of the peers that share a process.
        launches: how often the processes are started.

    Returns:
        One timing per peer and environment.

    Raises:
        RuntimeError: if one of them fails.
    """
    answers: dict[tuple[str, str], list[float]] = {}
    peaks: dict[tuple[str, str], float] = {}
    for launch in range(launches):
        workers: list[Worker] = []
        try:
            for environment, peers in processes:
                print(f"  preparing {', '.join(peers)} ({environment})", file=sys.stderr)
                workers.append(Worker(case_name, environment, peers))
            turns = [(worker, peer) for worker in workers for peer in worker.steps]
            for turn in range(rounds):
                print(f"  launch {launch + 1} of {launches}, round {turn + 1} of {rounds}", file=sys.stderr)
                first = turn % len(turns)
                for worker, peer in turns[first:] + turns[:first]:
                    answer, name = worker.run(peer), (peer, worker.environment)
                    answers.setdefault(name, []).append(1000 * answer["seconds"] / worker.steps[peer])
                    peaks[name] = max(peaks.get(name, 0.0), answer["peak_kilobytes"] / 1024)
        finally:
            for worker in workers:
                worker.close()
    order = [(peer, environment) for environment, peers in processes for peer in peers]
    return [Timing(*name, answers[name], peaks[name]) for name in order]
