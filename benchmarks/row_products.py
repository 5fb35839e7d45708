"""Forms of the products of one token of GPT-2 (124M), a row times each matrix: `python -m benchmarks.row_products`.

The least time of a token is that of reading all matrices once: 0.5 GB. The table says how fast each form reads
those of 12 blocks, one after the other, and the tied table of tokens; beside them PyTorch, and sums of that memory.
Forms: `x @ W` with kernels `[in, out]` as the library has them, `W @ x` with kernels `[out, in]`, a sum of products,
the row repeated to 2 and 8 rows, kernels cut in two that can be multiplied at once, and kernels in bfloat16. For one
core write `taskset -c 0` in front.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from benchmarks import machine
from jaxnets.training import keep_freed_memory

BLOCKS, SHAPES, TABLE = 12, ((768, 768),) * 4 + ((768, 3072), (3072, 768)), (50_257, 768)
Product = Callable[[Any, Any], Any]


def by_rows(rows: int) -> Product:
    """The product of the same row, repeated."""
    return lambda x, w: (jnp.tile(x, (rows, 1)) @ w)[:1]


def of_halves(x: Any, halves: Any) -> Any:
    """The products with two halves of the columns, side by side."""
    return jnp.concatenate([x @ half for half in halves], axis=1)


def widened(x: Any, w: Any) -> Any:
    """The sum of products with a kernel that is widened on the way."""
    return jnp.sum(w.astype(x.dtype) * x[0][:, None], axis=0)[None]


def blocks(product: Product, x: Any, weights: Any) -> Any:
    """The products of all blocks, in the order in which they depend on one another."""
    for query, key, value, out, first, second in weights:
        x = x + product(product(x, query) + product(x, key) + product(x, value), out)
        x = x + product(abs(product(x, first)), second)
    return x


def programs() -> dict[str, tuple[int, Callable[[], Any]]]:
    """The bytes that each form reads, and what runs it."""
    generator = np.random.default_rng(0)
    draw = functools.partial(generator.standard_normal, dtype=np.float32)
    weights = [[0.02 * draw(shape) for shape in SHAPES] for _ in range(BLOCKS)]
    table, row = draw(TABLE), draw((1, 768))
    x, matrices, ours = jnp.asarray(row), jax.tree.map(jnp.asarray, weights), jnp.asarray(table)
    transposed = jax.tree.map(lambda w: jnp.asarray(w.T.copy()), weights)
    halves = jax.tree.map(lambda w: [half + 0 for half in jnp.split(w, 2, axis=1)], matrices)
    half = jax.tree.map(lambda w: w.astype(jnp.bfloat16), matrices)
    forms: dict[str, tuple[Product, Any]] = {
        "x @ W": (lambda x, w: x @ w, matrices),
        "W @ x": (lambda x, w: (w @ x[0])[None], transposed),
        "sum over W": (widened, matrices),
        "2 rows": (by_rows(2), matrices),
        "8 rows": (by_rows(8), matrices),
        "two halves": (of_halves, halves),
        "bfloat16, widened": (widened, half),
    }
    large = sum(w.nbytes for block in weights for w in block)
    found: dict[str, tuple[int, Callable[[], Any]]] = {}
    for name, (product, kernels) in forms.items():
        run = jax.jit(functools.partial(blocks, product))
        size = large // 2 if kernels is half else large
        found[f"blocks, {name}"] = size, lambda run=run, kernels=kernels: run(x, kernels).block_until_ready()
    for name, form in {
        "x @ E.T": lambda x, e: x @ e.T,
        "E @ x": lambda x, e: e @ x[0],
        "sum over E": lambda x, e: jnp.sum(e * x, axis=1),
        "2 rows": lambda x, e: jnp.tile(x, (2, 1)) @ e.T,
    }.items():
        run = jax.jit(form)
        found[f"table, {name}"] = table.nbytes, lambda run=run: run(x, ours).block_until_ready()
    theirs = [[torch.tensor(w.T.copy()) for w in block] for block in weights]
    their_row, their_table, linear = torch.tensor(row), torch.tensor(table), torch.nn.functional.linear
    found["blocks, PyTorch"] = large, lambda: blocks(linear, their_row, theirs)
    found["table, PyTorch"] = table.nbytes, lambda: linear(their_row, their_table)
    found["table, sum of PyTorch"] = table.nbytes, lambda: their_table.sum()
    found["table, sum of NumPy"] = table.nbytes, lambda: table.sum()
    return found


def main() -> None:
    """Print the machine and the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(cores)
    torch.set_grad_enabled(False)
    keep_freed_memory()
    found = programs()
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in found}
    for turn in range(options.rounds + 1):
        for name, (_, run) in found.items():
            begun, used = time.perf_counter(), time.process_time()
            run()
            if turn:  # the first compiles
                seconds[name].append((time.perf_counter() - begun, time.process_time() - used))
    print(f"{machine.describe()}\n- {cores} cores for this process, n = {options.rounds}\n")
    print("| products | wall ms | min | max | GB/s | processor ms |\n|---|---|---|---|---|---|")
    for name, (size, _) in found.items():
        wall, used = ([1000 * pair[i] for pair in seconds[name]] for i in (0, 1))
        median = statistics.median(wall)
        numbers = f"{median:.2f} | {min(wall):.2f} | {max(wall):.2f} | {size / median / 1e6:.1f}"
        print(f"| {name} | {numbers} | {statistics.median(used):.2f} |")


if __name__ == "__main__":
    main()
