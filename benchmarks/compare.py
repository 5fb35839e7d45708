"""Run the peers of one case in turns and tabulate medians and ratios."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any, NamedTuple


class Timing(NamedTuple):
    """What one peer took.

    Attributes:
        peer: its name.
        environment: `"shipped"`, or `"same"`: with the allocator setting that jaxnets applies.
        milliseconds: of one step, one number a round.
        peak_mebibytes: the largest resident memory of its process.
    """

    peer: str
    environment: str
    milliseconds: list[float]
    peak_mebibytes: float

    @property
    def median(self) -> float:
        """The median over the rounds, in milliseconds a step."""
        return statistics.median(self.milliseconds)


class Worker:
    """A peer's process."""

    def __init__(self, case: str, peer: str, environment: str):
        self.peer, self.environment = peer, environment
        command = [sys.executable, "-m", "benchmarks.worker", case, peer, environment]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        ready = self._answer()
        self.loss: float = ready["loss"]
        self.steps: int = ready["steps"]

    def run(self) -> dict[str, float]:
        """Time one round."""
        self._process.stdin.write(f"{self.steps}\n")  # type: ignore[union-attr]
        self._process.stdin.flush()  # type: ignore[union-attr]
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            raise RuntimeError(f"the peer {self.peer} ended:\n{self._process.communicate()[1]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def compare(case_name: str, rounds: int, peers: list[tuple[str, str]]) -> list[Timing]:
    """Time the peers of a case, one after the other within each round.

    Args:
        case_name: a folder of `benchmarks`.
        rounds: how often each peer is timed.
        peers: pairs (peer, environment).

    Returns:
        One timing a peer.

    Raises:
        RuntimeError: if the peers' losses differ by more than a part in 10,000, or one of them fails.
    """
    workers: list[Worker] = []
    try:
        for peer, environment in peers:
            print(f"  preparing {peer} ({environment})", file=sys.stderr)
            workers.append(Worker(case_name, peer, environment))
        reference = workers[0].loss
        for worker in workers:
            if abs(worker.loss - reference) > 1e-4 * abs(reference):
                raise RuntimeError(f"{worker.peer} computes another loss: {worker.loss}, expected {reference}")
        answers: list[list[dict[str, float]]] = [[] for _ in workers]
        for turn in range(rounds):
            print(f"  round {turn + 1} of {rounds}", file=sys.stderr)
            for worker, collected in zip(workers, answers, strict=True):
                collected.append(worker.run())
    finally:
        for worker in workers:
            worker.close()
    return [
        Timing(
            worker.peer,
            worker.environment,
            [1000 * answer["seconds"] / worker.steps for answer in collected],
            max(answer["peak_kilobytes"] for answer in collected) / 1024,
        )
        for worker, collected in zip(workers, answers, strict=True)
    ]
