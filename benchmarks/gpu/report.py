"""All GPU cases as Markdown tables: `python -m benchmarks gpu`."""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys

import jax

from benchmarks import one_step
from benchmarks.compare import Timing, compare
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


def section(name: str, rounds: int, ceiling: float, title: str = "") -> str:
    """One case, each peer in its own process."""
    case = importlib.import_module(f"benchmarks.gpu.{name}")
    agreement = one_step.check(f"gpu.{name}", case.PEERS)
    timings = compare(f"gpu.{name}", rounds, [("shipped", [peer]) for peer in case.PEERS])
    return f"## {title or case.__doc__}\n\n{agreement}\n\n{rate_table(timings, case.flops(), ceiling)}"


def attention_sections(rounds: int, ceiling: float) -> list[str]:
    """Attention at several lengths; the case reads the length from the environment."""
    sections = []
    for length in LENGTHS:
        os.environ["JAXNETS_BENCHMARK_LENGTH"] = str(length)
        agreement = one_step.check("gpu.attention", attention.PEERS)
        timings = compare("gpu.attention", rounds, [("shipped", [peer]) for peer in attention.PEERS])
        table = rate_table(timings, attention.flops(length), ceiling)
        sections.append(f"## Causal attention of {length:,} positions, forward and backward\n\n{agreement}\n\n{table}")
    return sections


def seeds_section(rounds: int) -> str:
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


def report(rounds: int) -> list[str]:
    """All sections."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the peers share the device
    jax.config.update("jax_platforms", "cpu")  # this process only counts operations; the peers have the device
    found = ceilings()
    head = (
        f"- device: {found['device']}\n- ceilings measured in this run: {found['tflops']:.0f} TFLOP/s in products of "
        f"bfloat16 matrices, {found['gigabytes']:.0f} GB/s read and written\n\nFLOPs are three times those of "
        "the forward pass; ratios are of medians; within each round the peers took turns."
    )
    ceiling = float(found["tflops"])
    cases = [section(name, rounds, ceiling) for name in ("resnet50", "gpt2", "lstm")]
    return [head, *cases, *attention_sections(rounds, ceiling), seeds_section(rounds)]
