"""`python -m benchmarks cpu [--rounds N] [--only CASE ...] [--out FILE]`: time all peers, write a Markdown table."""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

from benchmarks import lstm, machine, mnist_cnn, pima_mlp, tiny_mlp
from benchmarks.compare import Timing, compare
from benchmarks.imports import import_table
from benchmarks.processes import pima_table, training_table


def table(timings: list[Timing], unit: float, unit_name: str, what: str = "a step") -> str:
    """Medians, spread and the ratio jaxnets / peer as a Markdown table."""
    ours = next(timing for timing in timings if timing.peer == "jaxnets")
    lines = [
        f"| peer | environment | n | median {unit_name} {what} | min | max | jaxnets / peer | peak MiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for timing in timings:
        numbers = [value * unit for value in (timing.median, min(timing.milliseconds), max(timing.milliseconds))]
        cells = [timing.peer.rstrip("_"), timing.environment, str(len(timing.milliseconds))]
        cells += [f"{number:,.1f}" if number >= 10 else f"{number:.3g}" for number in numbers]
        cells += [f"{ours.median / timing.median:.3f}", f"{timing.peak_mebibytes:,.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mnist_section(rounds: int) -> str:
    """The MNIST network, each peer in a process of its own."""
    alone = [("shipped", [peer]) for peer in mnist_cnn.PEERS] + [("same", [peer]) for peer in ("pytorch", "plain_jax")]
    timings = compare("mnist_cnn", rounds, alone)
    return f"## {mnist_cnn.__doc__}\n\nEach peer ran in its own process.\n\n{table(timings, 1, 'ms')}"


def tiny_section(rounds: int) -> str:
    """The overhead of a step, the peers that use JAX in one process."""
    jax_peers = [peer for peer in tiny_mlp.PEERS if peer != "pytorch"]
    timings = compare("tiny_mlp", rounds, [("same", jax_peers), ("shipped", ["pytorch"])], launches=5)
    note = (
        "The peers that use JAX shared one process, which was started five times: between processes, and now and "
        "then within one, all of them change between a fast and a slow mode, about 20 µs apart."
    )
    return f"## {tiny_mlp.__doc__}\n\n{note}\n\n{table(timings, 1000, 'µs')}"


def lstm_section(rounds: int) -> str:
    """The LSTM, each peer in a process of its own."""
    alone = [("shipped", [peer]) for peer in lstm.PEERS] + [("same", [peer]) for peer in lstm.PEERS[1:]]
    timings = compare("lstm", rounds, alone)
    return f"## {lstm.__doc__}\n\nEach peer ran in its own process.\n\n{table(timings, 1, 'ms')}"


def pima_section(rounds: int) -> str:
    """The Pima program, compiled, and as a whole process."""
    timings = compare("pima_mlp", rounds, [("shipped", [peer]) for peer in pima_mlp.PEERS])
    compiled = table(timings, pima_mlp.STEPS / 1000, "s", "for 100 epochs")
    return (
        f"## {pima_mlp.__doc__}\nAfter compilation:\n\n{compiled}\n\n"
        f"Whole fresh processes, imports and compilation included:\n\n{pima_table(rounds)}"
    )


def import_section(rounds: int) -> str:
    """The time that imports take."""
    return f"## Import time\n\n{import_table(rounds)}"


def training_section(rounds: int) -> str:
    """What fit costs beside its steps."""
    return (
        "## Checkpoints\n\nThe MNIST network in `fit`; CPU time includes compilation:\n\n"
        f"{training_table('checkpoints', 2 * rounds + 1)}\n\n"
        "## Memory of a long run\n\nThe tiny MLP in `fit`, 50 steps and an evaluation an epoch:\n\n"
        f"{training_table('memory', 4000)}\n\n"
        f"With a checkpoint after every epoch:\n\n{training_table('memory_with_checkpoints', 400)}"
    )


SECTIONS = {
    "mnist_cnn": mnist_section,
    "tiny_mlp": tiny_section,
    "lstm": lstm_section,
    "pima_mlp": pima_section,
    "training": training_section,
    "import": import_section,
}


def cpu(rounds: int, chosen: list[str]) -> str:
    """Run the chosen cases on the CPU."""
    introduction = (
        "Within each round the peers took turns, in an order that rotates. "
        "`shipped`: as the library comes; `same`: with the allocator setting that jaxnets applies."
    )
    head = [f"# CPU, {datetime.date.today().isoformat()}", machine.describe(), introduction]
    return "\n\n".join([*head, *(SECTIONS[name](rounds) for name in chosen)])


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("machine", choices=["cpu"], help="which benchmarks to run")
    parser.add_argument("--rounds", type=int, default=7, help="how often each peer is timed (default 7)")
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="which cases (default: all)"
    )
    parser.add_argument("--out", type=Path, help="write the table to this file as well")
    arguments = parser.parse_args()
    report = cpu(arguments.rounds, arguments.only)
    print(report)
    if arguments.out:
        arguments.out.write_text(report + "\n")
        print(f"written to {arguments.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
