"""All GPU cases as Markdown tables: `python -m benchmarks gpu`."""

from __future__ import annotations

import functools
import importlib
import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence

import jax

from benchmarks import one_step
from benchmarks.compare import Timing, Worker, compare
from benchmarks.gpu import SMALL, attention

LENGTHS = (16, 32) if SMALL else (1024, 4096, 16_384)


def ceilings() -> dict[str, float]:
    """The measured TFLOP/s of large products and GB/s of a copy of this device, and its name."""
    command = [sys.executable, "-m", "benchmarks.gpu.ceilings"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def rate_table(timings: list[Timing], flops: float, ceiling: float) -> str:
    """Milliseconds per step, and the share of the ceiling that its products reach."""
    ours = next(timing for timing in timings if timing.peer == "jaxnets")
    lines = [
        "| peer | n | median ms | min | max | jaxnets / peer | TFLOP/s | of the ceiling |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for timing in timings:
        rate = flops / timing.median / 1e9
        numbers = [timing.median, min(timing.milliseconds), max(timing.milliseconds)]
        cells = [timing.peer, str(len(timing.milliseconds)), *(f"{number:.3f}" for number in numbers)]
        cells += [f"{ours.median / timing.median:.3f}", f"{rate:.1f}", f"{rate / ceiling:.1%}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def section(name: str, rounds: int, ceiling: float) -> str:
    """One case, each peer in its own process."""
    case = importlib.import_module(f"benchmarks.gpu.{name}")
    agreement = one_step.check(f"gpu.{name}", case.PEERS)
    timings = compare(f"gpu.{name}", rounds, [("shipped", [peer]) for peer in case.PEERS])
    return f"## {case.__doc__.rstrip()}\n\n{agreement}\n\n{rate_table(timings, case.flops(), ceiling)}"


def attention_section(rounds: int, ceiling: float) -> str:
    """Attention at several lengths; the case reads the length from the environment."""
    sections = []
    for length in LENGTHS:
        os.environ["JAXNETS_BENCHMARK_LENGTH"] = str(length)
        agreement = one_step.check("gpu.attention", attention.PEERS)
        timings = compare("gpu.attention", rounds, [("shipped", [peer]) for peer in attention.PEERS])
        table = rate_table(timings, attention.flops(length), ceiling)
        sections.append(f"## Causal attention of {length:,} positions, forward and backward\n\n{agreement}\n\n{table}")
    return "\n\n".join(sections)


def speedrun_section(rounds: int, ceiling: float) -> str:
    """Whole trainings, each round with another seed; the time ends with the accuracy on the test images."""
    case = importlib.import_module("benchmarks.gpu.speedrun")
    agreement = one_step.check("gpu.speedrun", case.PEERS)
    workers = {peer: Worker("gpu.speedrun", "shipped", [peer]) for peer in case.PEERS}
    answers = {peer: [] for peer in case.PEERS}
    try:
        for turn in range(rounds):
            for peer in case.PEERS[:: 1 if turn % 2 == 0 else -1]:
                answers[peer].append(workers[peer].run(peer))
    finally:
        for worker in workers.values():
            worker.close()
    lines = [
        "| peer | n | median s | min | max | jaxnets / peer | mean accuracy | standard deviation | min | max |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    medians = {peer: statistics.median(answer["seconds"] for answer in found) for peer, found in answers.items()}
    for peer, found in answers.items():
        seconds, accuracies = ([answer[name] for answer in found] for name in ("seconds", "value"))
        cells = [peer, str(len(found)), *(f"{x:.3f}" for x in (medians[peer], min(seconds), max(seconds)))]
        cells.append(f"{medians['jaxnets'] / medians[peer]:.3f}")
        spread = statistics.stdev(accuracies) if len(accuracies) > 1 else math.nan
        cells += [f"{x:.4f}" for x in (statistics.mean(accuracies), spread, min(accuracies), max(accuracies))]
        lines.append("| " + " | ".join(cells) + " |")
    return f"## {case.__doc__.rstrip()}\n\n{agreement}\n\n" + "\n".join(lines)


def seeds_section(rounds: int, ceiling: float) -> str:
    """Many seeds at once and the host's time per step, in their own process."""
    command = [sys.executable, "-m", "benchmarks.gpu.seeds", str(rounds)]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    lines = [
        "## The 8-12-8-1 network, batch 10, steps in a scan",
        "",
        "| what | n | median | min | max |",
        "|---|---|---|---|---|",
    ]
    for what, values in found.items():
        numbers = [f"{number:.3g}" for number in (statistics.median(values), min(values), max(values))]
        lines.append(f"| {what} | {len(values)} | {' | '.join(numbers)} |")
    return "\n".join(lines)


SECTIONS = {
    **{name: functools.partial(section, name) for name in ("resnet50", "gpt2", "lstm")},
    "attention": attention_section,
    "seeds": seeds_section,
    "speedrun": speedrun_section,
}
NEED_FILES = ("speedrun",)
"""Sections that read data sets from the folder `JAXNETS_DATA`; they run only if chosen."""


def report(rounds: int, chosen: Sequence[str]) -> Iterator[str]:
    """The ceilings, then the chosen sections."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the peers share the device
    jax.config.update("jax_platforms", "cpu")  # this process only counts operations; the peers have the device
    found = ceilings()
    yield (
        f"- device: {found['device']}\n- ceilings measured in this run: {found['tflops']:.0f} TFLOP/s in products of "
        f"bfloat16 matrices, {found['gigabytes']:.0f} GB/s read and written\n\nFLOPs are three times those of "
        "the forward pass; ratios are of medians; within each round the peers took turns."
    )
    for name in chosen:
        yield SECTIONS[name](rounds, float(found["tflops"]))
