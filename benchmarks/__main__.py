"""`python -m benchmarks cpu [--rounds N] [--out FILE]`: time all peers and write a Markdown table."""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

from benchmarks import machine, mnist_cnn, tiny_mlp
from benchmarks.compare import Timing, compare
from benchmarks.imports import import_table


def table(timings: list[Timing], unit: float, unit_name: str) -> str:
    """Medians, spread and the ratio jaxnets / peer as a Markdown table."""
    ours = next(timing for timing in timings if timing.peer == "jaxnets")
    lines = [
        f"| peer | environment | n | median {unit_name} a step | min | max | jaxnets / peer | peak MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for timing in timings:
        numbers = [value * unit for value in (timing.median, min(timing.milliseconds), max(timing.milliseconds))]
        cells = [timing.peer.rstrip("_"), timing.environment, str(len(timing.milliseconds))]
        cells += [f"{number:,.1f}" for number in numbers]
        cells += [f"{ours.median / timing.median:.3f}", f"{timing.peak_mebibytes:,.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cpu(rounds: int) -> str:
    """Run every case on the CPU."""
    alone = [("shipped", [peer]) for peer in mnist_cnn.PEERS] + [("same", [peer]) for peer in ("pytorch", "plain_jax")]
    cnn = compare("mnist_cnn", rounds, alone)
    jax_peers = [peer for peer in tiny_mlp.PEERS if peer != "pytorch"]
    mlp = compare("tiny_mlp", rounds, [("same", jax_peers), ("shipped", ["pytorch"])], launches=5)
    return "\n\n".join(
        [
            f"# CPU, {datetime.date.today().isoformat()}",
            machine.describe(),
            "Within each round the peers took turns, in an order that rotates. "
            "`shipped`: as the library comes; `same`: with the allocator setting that jaxnets applies.",
            f"## {mnist_cnn.__doc__}",
            "Each peer ran in its own process.",
            table(cnn, 1, "ms"),
            f"## {tiny_mlp.__doc__}",
            "The peers that use JAX shared one process, which was started five times: between processes, and now and "
            "then within one, all of them change between a fast and a slow mode, about 20 µs apart.",
            table(mlp, 1000, "µs"),
            "## Import time",
            import_table(rounds),
        ]
    )


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("machine", choices=["cpu"], help="which benchmarks to run")
    parser.add_argument("--rounds", type=int, default=7, help="how often each peer is timed (default 7)")
    parser.add_argument("--out", type=Path, help="write the table to this file as well")
    arguments = parser.parse_args()
    report = cpu(arguments.rounds)
    print(report)
    if arguments.out:
        arguments.out.write_text(report + "\n")
        print(f"written to {arguments.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
