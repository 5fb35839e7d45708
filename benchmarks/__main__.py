"""`python -m benchmarks cpu|gpu|sweep|tpu-plan [--rounds N] [--out FILE] ...`: time all peers, write tables."""

from __future__ import annotations

import argparse
import datetime
import functools
import importlib
from collections.abc import Iterator
from pathlib import Path

from benchmarks import machine, one_step, pima_mlp, tiny_mlp, tpu_plan as tpu_plan_module
from benchmarks.chart import draw
from benchmarks.compare import Timing, compare
from benchmarks.gpu import report as gpu_report
from benchmarks.imports import import_table
from benchmarks.processes import compile_table, module_table, process_table, seeds_table
from benchmarks.to_result.table import result_table


def table(timings: list[Timing], unit: float, unit_name: str, what: str = "per step") -> str:
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


def case_section(name: str, rounds: int) -> str:
    """A case, each peer in its own process, as shipped and with our allocator setting."""
    case = importlib.import_module(f"benchmarks.{name}")
    same = getattr(case, "SAME", [peer for peer in case.PEERS if peer != "jaxnets"])
    alone = [("shipped", [peer]) for peer in case.PEERS] + [("same", [peer]) for peer in same]
    agreement = one_step.check(name, case.PEERS)
    TIMINGS[name] = compare(name, rounds, alone)
    note = f"{agreement} Each peer ran in its own process; the programs are in `benchmarks/{name}/`."
    return f"## {case.__doc__.rstrip()}\n\n{note}\n\n{table(TIMINGS[name], 1, 'ms')}"


def tiny_section(rounds: int) -> str:
    """The overhead per step, with the peers that use JAX in one process."""
    torch_peers = [peer for peer in tiny_mlp.PEERS if peer.startswith("pytorch")]
    jax_peers = [peer for peer in tiny_mlp.PEERS if peer not in torch_peers]
    alone = [("shipped", [peer]) for peer in torch_peers]
    agreement = one_step.check("tiny_mlp", tiny_mlp.PEERS)
    TIMINGS["tiny_mlp"] = compare("tiny_mlp", rounds, [("same", jax_peers), *alone], launches=5)
    note = (
        f"{agreement} The peers that use JAX shared one process, started five times, because all of them "
        "change between a fast and a slow mode, about 20 µs apart, between processes and sometimes within one."
    )
    return f"## {tiny_mlp.__doc__}\n\n{note}\n\n{table(TIMINGS['tiny_mlp'], 1000, 'µs')}"


def pima_section(rounds: int) -> str:
    """The Pima program, compiled, and as a whole process."""
    agreement = one_step.check("pima_mlp", pima_mlp.PEERS)
    TIMINGS["pima_mlp"] = compare("pima_mlp", rounds, [("shipped", [peer]) for peer in pima_mlp.PEERS])
    compiled = table(TIMINGS["pima_mlp"], pima_mlp.STEPS / 1000, "s", "for 100 epochs")
    return (
        f"## {pima_mlp.__doc__}\n{agreement}\n\nAfter compilation:\n\n{compiled}\n\n"
        "Whole fresh processes, imports and compilation included:\n\n"
        f"{process_table('pima_mlp', pima_mlp.STEPS, rounds)}"
    )


def cold_section(rounds: int) -> str:
    """From the start of a process to the end of its first step, and of a whole small run."""
    return (
        "## The MNIST network, from the start of a process to the end of its first step\n\n"
        f"{process_table('mnist_cnn', 1, rounds)}\n\n"
        "## The digits of scikit-learn, from the start of a process to the end of 20 epochs\n\n"
        f"{result_table('digits', rounds)}"
    )


def seeds_section(rounds: int) -> str:
    """Many networks in one call."""
    return (
        "## Many networks in one call\n\nBy `jax.vmap` over the train states, or by `jax.lax.map`, one after the "
        f"other, against as many runs of PyTorch:\n\n{seeds_table(rounds)}"
    )


def compile_section(rounds: int) -> str:
    """How compile time grows with depth."""
    return (
        "## The time to trace and compile a training step\n\nBlocks are scanned, so that a network of four times the "
        f"depth does not give a program of four times the size:\n\n{compile_table(rounds)}"
    )


def to_result_section(rounds: int) -> str:
    """Whole processes until a network reaches the target."""
    return (
        "## The time to a result\n\nWhole processes; imports, data and compilation are included.\n\n"
        f"MNIST, a small convolutional network:\n\n{result_table('mnist', max(rounds, 10))}\n\n"
        f"Shakespeare, nanoGPT's network for a CPU:\n\n{result_table('shakespeare', rounds)}"
    )


def import_section(rounds: int) -> str:
    """The time that imports take."""
    return f"## Import time\n\n{import_table(rounds)}"


def training_section(rounds: int) -> str:
    """The cost of `fit` besides its steps."""
    return (
        "## Checkpoints\n\nThe MNIST network in `fit`; CPU time includes compilation:\n\n"
        f"{module_table('training', 'checkpoints', 2 * rounds + 1)}\n\n"
        "## Memory of a long run\n\nThe tiny MLP in `fit`, 50 steps and an evaluation per epoch:\n\n"
        f"{module_table('training', 'memory', 4000)}\n\n"
        f"With a checkpoint after every epoch:\n\n{module_table('training', 'memory_with_checkpoints', 400)}"
    )


def data_section(rounds: int) -> str:
    """Training on data that are read from disk."""
    return (
        "## Data read from disk\n\nExamples in a random order, in batches of 128; the files were in the memory that "
        f"Linux keeps files in:\n\n{module_table('data', 'reading', rounds)}\n\n"
        "The course's MNIST network in `fit`, batch 64, one epoch of 200 steps, in turns; `waiting` is the share of "
        f"the time in which no batch was ready:\n\n{module_table('data', 'training', rounds)}\n\n"
        "The memory of a process that trains on a set of ten times its limit:\n\n"
        f"{module_table('data', 'memory', 320)}"
    )


CASES = (
    *("mnist_cnn", "resnet20", "lstm", "gru", "nanogpt", "vit_tiny", "separable", "vae", "seq2seq", "translation"),
    *("dcgan", "diffusion_unet", "segmentation_unet", "clip"),
)
SECTIONS = {
    **{name: functools.partial(case_section, name) for name in CASES},
    "tiny_mlp": tiny_section,
    "pima_mlp": pima_section,
    "cold": cold_section,
    "seeds": seeds_section,
    "compile": compile_section,
    "training": training_section,
    "data": data_section,
    "import": import_section,
    "to_result": to_result_section,
}
NEED_FILES = ("to_result",)
"""Sections that read data sets from the folder `JAXNETS_DATA`; they run only if chosen."""
TIMINGS: dict[str, list[Timing]] = {}
"""The timings of this run, for the chart."""


def cpu(rounds: int, chosen: list[str]) -> Iterator[str]:
    """Run the chosen cases on the CPU and yield the sections of the report."""
    introduction = (
        "Within each round the peers took turns, in an order that rotates. "
        "`shipped`: as the library comes; `same`: with the allocator setting that jaxnets applies."
    )
    yield from (f"# CPU, {datetime.date.today().isoformat()}", machine.describe(), introduction)
    for name in chosen:
        yield SECTIONS[name](rounds)


def gpu(rounds: int, chosen: list[str]) -> Iterator[str]:
    """Run the chosen cases for a GPU."""
    yield from (f"# GPU, {datetime.date.today().isoformat()}", machine.describe())
    yield from gpu_report.report(rounds, chosen)


def tpu_plan() -> Iterator[str]:
    """The TPU compiler's predictions."""
    note = (
        "Predicted by the compiler, not measured: a training step in bfloat16 on one TPU v5e, with "
        f"{tpu_plan_module.PEAK / 1e12:.0f} TFLOP/s at most. FLOPs are three times those of the forward pass."
    )
    yield from (f"# TPU v5e, {datetime.date.today().isoformat()}", machine.describe(), note)
    yield tpu_plan_module.table()


def sweep(rounds: int, seed: int, out: Path | None, *, smoke: bool = False) -> Iterator[str]:
    """Measure operations of drawn shapes; with a file to write to, continue what is noted beside it and draw maps."""
    from benchmarks.sweep import measure, report

    cells = measure.first_cells(seed) if smoke else measure.all_cells(seed)
    found = measure.sweep(cells, out and out.with_suffix(".jsonl"), rounds)
    if out:
        report.draw(found, out.with_suffix(".png"))
    yield report.report(found, seed)


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("machine", choices=["cpu", "gpu", "sweep", "tpu-plan"], help="the benchmarks to run")
    parser.add_argument("--rounds", type=int, default=7, help="how often each peer is timed (default 7)")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="CASE",
        help=f"CPU cases, {', '.join(SECTIONS)}, or GPU cases, {', '.join(gpu_report.SECTIONS)} (default: all but "
        f"{', '.join((*NEED_FILES, *gpu_report.NEED_FILES))}, which need JAXNETS_DATA)",
    )
    parser.add_argument("--out", metavar="FILE", type=Path, help="write the table to this file as well")
    parser.add_argument("--seed", type=int, default=0, help="the shapes that the sweep draws (default 0)")
    parser.add_argument("--smoke", action="store_true", help="measure one small cell of each operation of the sweep")
    return parser


def chosen_cases(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    """The cases to run, all that need no files if none is chosen."""
    on_gpu = arguments.machine == "gpu"
    names, need_files = (gpu_report.SECTIONS, gpu_report.NEED_FILES) if on_gpu else (SECTIONS, NEED_FILES)
    for name in arguments.only or ():
        if name not in names:
            parser.error(f"--only: {arguments.machine} has no case {name!r}; choose from {', '.join(names)}")
    return arguments.only or [name for name in names if name not in need_files]


def main() -> None:
    """Parse the command line, run, print and write."""
    parser = make_parser()
    arguments = parser.parse_args()
    chosen = chosen_cases(parser, arguments)
    programs = {
        "cpu": lambda: cpu(arguments.rounds, chosen),
        "gpu": lambda: gpu(arguments.rounds, chosen),
        "sweep": lambda: sweep(arguments.rounds, arguments.seed, arguments.out, smoke=arguments.smoke),
        "tpu-plan": tpu_plan,
    }
    written: list[str] = []
    for part in programs[arguments.machine]():
        print(part, end="\n\n", flush=True)
        written.append(part)
        if arguments.out:  # after every section, so that nothing is lost if a later one fails
            arguments.out.write_text("\n\n".join(written) + "\n")
    if arguments.out and TIMINGS:
        draw(TIMINGS, arguments.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
