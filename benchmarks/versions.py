"""Steps of jaxnets under several versions of JAX and options of XLA, in turns: `python -m benchmarks.versions --help`.

Each variant is a Python whose environment has the version, and flags of XLA, and runs in its own process:

    python -m benchmarks.versions --variant 'oneDNN=.venv/bin/python --xla_cpu_use_onednn=true'

The first variant, with which the others are compared, is the Python that runs this, without flags. On a machine that
others use, the processor's time says more than wall time, if the program is bound to one core (`taskset -c 0`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import NamedTuple

from benchmarks.compare import Worker

CASES = ("mnist_cnn", "resnet20", "lstm", "vit_tiny", "nanogpt", "separable")


class Variant(NamedTuple):
    """A name, a Python, and flags of XLA."""

    name: str
    python: str
    xla_flags: str


def parse(text: str) -> Variant:
    """A variant of the command line, `NAME=PYTHON FLAGS`."""
    name, _, command = text.partition("=")
    python, _, flags = command.partition(" ")
    if not python:
        raise argparse.ArgumentTypeError(f"write NAME=PYTHON FLAGS, got {text!r}")
    return Variant(name, python, flags)


def measure(case: str, variants: list[Variant], rounds: int) -> dict[str, list[dict[str, float]]]:
    """What the process of each variant answers, once a round; one that cannot run is left out."""
    workers: dict[str, Worker] = {}
    try:
        for variant in variants:
            try:
                workers[variant.name] = Worker(
                    case, "shipped", ["jaxnets"], python=variant.python, xla_flags=variant.xla_flags
                )
            except RuntimeError as error:
                print(f"  {case} does not run with {variant.name}: {str(error).splitlines()[-1]}", file=sys.stderr)
        answers: dict[str, list[dict[str, float]]] = {name: [] for name in workers}
        for _ in range(rounds):
            for name, worker in workers.items():
                answers[name].append(worker.run("jaxnets") | {"steps": worker.steps["jaxnets"]})
        return answers
    finally:
        for worker in workers.values():
            worker.close()


def rows(case: str, answers: dict[str, list[dict[str, float]]]) -> list[str]:
    """A row of the table for each variant."""
    lines, first = [], {}
    for name, rounds in answers.items():
        cells = [case, name, str(len(rounds))]
        for what in ("processor_seconds", "seconds"):
            values = [1000 * answer[what] / answer["steps"] for answer in rounds]
            median = statistics.median(values)
            ratio = median / first.setdefault(what, median)
            cells += [f"{median:.2f}", f"{min(values):.2f}", f"{max(values):.2f}", f"{ratio:.2f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    """Print the table, a case at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variant", type=parse, action="append", required=True, metavar="NAME=PYTHON FLAGS")
    parser.add_argument("--case", action="append", help=f"a folder of `benchmarks`; by default {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    variants = [Variant("installed", sys.executable, ""), *options.variant]
    print("| case | variant | n | processor ms per step | min | max | ratio | wall ms | min | max | ratio |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for case in options.case or CASES:
        print("\n".join(rows(case, measure(case, variants, options.rounds))), flush=True)


if __name__ == "__main__":
    main()
