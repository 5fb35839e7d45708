"""Measure cells, one after the other, and note each in a file of JSON lines, so that a run can be continued."""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from benchmarks.sweep import attention, convolution, product, recurrent
from benchmarks.sweep.case import Case, Cell, draw_cells
from jaxnets.training.tune import compiler_options, keep_freed_memory

OPERATIONS = {
    "convolution": convolution.OPERATION,
    "product": product.OPERATION,
    "attention": attention.OPERATION,
    "recurrent": recurrent.OPERATION,
}
Times = dict[str, list[float]]
"""By name of a program, milliseconds per call, one number for each round."""
TURN = 0.025
"""Seconds that a turn of a program lasts at least."""
LONG = 0.3
"""Programs whose call takes longer than these seconds have three rounds only."""
SLOWER = 1.1
"""Cells slower than this multiple of plain JAX are measured once more, with three times the rounds."""
TOLERANCE = 1e-3
"""The largest difference of results, relative to their size, in the 2-norm."""


def all_cells(seed: int) -> list[Cell]:
    """The cells of all operations, mixed, so that a part of a run has some of each."""
    cells = [cell for name, operation in OPERATIONS.items() for cell in draw_cells(name, operation, seed)]
    order = np.random.default_rng(seed).permutation(len(cells))
    return [cells[i] for i in order]


def first_cells(seed: int) -> list[Cell]:
    """One cell for each operation, with the smallest sizes."""
    return [draw_cells(name, operation, seed)[0] for name, operation in OPERATIONS.items()]


def prepare(case: Case) -> dict[str, Callable[[], Any]]:
    """By name of a program, a function that computes the result and all gradients and waits for them."""
    generator = np.random.default_rng(0)
    arrays = {name: _normal(shape, generator) for name, shape in case.shapes.items()}
    result = jax.eval_shape(lambda arrays: case.programs["jaxnets"](**arrays), arrays)
    direction = generator.normal(size=result.shape).astype(np.float32)
    ready = {}
    for name, program in case.programs.items():
        if name.startswith("pytorch"):
            ready[name] = _torch_call(case, program, arrays, direction, channels_last=name.endswith("channels_last"))
        else:
            ready[name] = _jax_call(program, arrays, direction, compiler_options() if name == "jaxnets" else None)
    return ready


def _normal(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    scale = math.prod(shape[:-1]) ** -0.5 if 1 < len(shape) != 3 else 1.0
    return (scale * generator.normal(size=shape)).astype(np.float32)


def _jax_call(program: Callable[..., Any], arrays: Any, direction: Any, options: Any) -> Callable[[], Any]:
    def both(arrays, direction):
        y, pull_back = jax.vjp(lambda arrays: program(**arrays), arrays)
        return y, pull_back(direction)[0]

    arguments = jax.device_put((arrays, direction))
    compiled = jax.jit(both, compiler_options=options)
    return lambda: jax.block_until_ready(compiled(*arguments))


def _torch_call(
    case: Case, program: Callable[..., Any], arrays: Any, direction: Any, *, channels_last: bool
) -> Callable[[], Any]:
    def tensor(name: str, array: np.ndarray) -> torch.Tensor:
        axes = case.torch_axes.get(name)
        found = torch.tensor(array if axes is None else array.transpose(axes).copy())
        return found.contiguous(memory_format=torch.channels_last) if channels_last and found.ndim == 4 else found

    def restore(name: str, tensor: torch.Tensor) -> np.ndarray:
        axes = case.torch_axes.get(name)
        array = tensor.detach().numpy()
        return array if axes is None else array.transpose(np.argsort(axes))

    tensors = {name: tensor(name, array).requires_grad_() for name, array in arrays.items()}
    to = tensor("y", direction)

    def call():
        y = program(**tensors)
        return y, torch.autograd.grad(y, list(tensors.values()), to)

    def results():
        y, gradients = call()
        return restore("y", y), {name: restore(name, g) for name, g in zip(tensors, gradients, strict=True)}

    call.results = results
    return call


def check(calls: dict[str, Callable[[], Any]]) -> None:
    """Raise RuntimeError unless all programs give equal results and gradients."""
    found = {name: jax.tree.leaves(getattr(call, "results", call)()) for name, call in calls.items()}
    ours = found.pop("jaxnets")
    for name, theirs in found.items():
        for a, b in zip(ours, theirs, strict=True):
            size = np.linalg.norm(np.asarray(b).astype(np.float64))
            gap = np.linalg.norm(np.asarray(a, np.float64) - np.asarray(b, np.float64))
            if not gap <= TOLERANCE * size:
                raise RuntimeError(f"{name} differs from jaxnets by {gap:.3g} of {size:.3g}, shape {a.shape}")


def time_calls(calls: dict[str, Callable[[], Any]], rounds: int) -> Times:
    """Milliseconds per call: each program's mean over a turn, one number per round; they take turns within a round.

    On one core it is processor time, which other work of the machine lengthens less.
    """
    counts = {}
    for name, call in calls.items():
        call()
        counts[name] = max(1, math.ceil(TURN / _seconds(call, 1)))
    if max(_seconds(call, 1) for call in calls.values()) > LONG:
        rounds = min(rounds, 3)
    milliseconds: Times = {name: [] for name in calls}
    names = list(calls)
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            calls[name]()  # what the program before it left in the caches does not count
            milliseconds[name].append(1000 * _seconds(calls[name], counts[name]))
    return milliseconds


def _seconds(call: Callable[[], Any], count: int) -> float:
    clock = time.process_time if len(os.sched_getaffinity(0)) == 1 else time.perf_counter
    started = clock()
    for _ in range(count):
        call()
    return (clock() - started) / count


def measure(cell: Cell, rounds: int) -> Times:
    """Check that the programs of a cell agree, and time them."""
    calls = prepare(OPERATIONS[cell.operation].case(**cell.settings))
    check(calls)
    found = time_calls(calls, rounds)
    if statistics.median(found["jaxnets"]) > SLOWER * statistics.median(found["jax"]):
        found = time_calls(calls, 3 * rounds)
    jax.clear_caches()
    return found


def sweep(cells: Sequence[Cell], path: Path | None, rounds: int) -> list[tuple[Cell, Times]]:
    """Measure the cells that the file does not have yet, and return all of them with their milliseconds per call."""
    keep_freed_memory()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    known = _read(path) if path and path.exists() else {}
    found = []
    for number, cell in enumerate(cells, start=1):
        times = known.get(json.dumps(cell))
        if times is None:
            started = time.perf_counter()
            times = measure(cell, rounds)
            if path:
                with path.open("a") as file:
                    file.write(json.dumps([*cell, times]) + "\n")
            ours = statistics.median(times["jaxnets"])
            ratios = {name: ours / statistics.median(values) for name, values in times.items() if name != "jaxnets"}
            others = ", ".join(f"{ratio:.2f} of {name}" for name, ratio in ratios.items())
            print(
                f"  {number} of {len(cells)}, {time.perf_counter() - started:.1f} s: {cell.operation}", file=sys.stderr
            )
            print(f"    {cell.settings}: {ours:.3g} ms, {others}", file=sys.stderr)
        found.append((cell, times))
    return found


def _read(path: Path) -> dict[str, Times]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {json.dumps(cell): times for *cell, times in lines}
