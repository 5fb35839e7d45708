"""The device's limits, measured: large products of bfloat16 matrices, and a copy; prints JSON."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.gpu import SMALL

SIZE = 256 if SMALL else 8192
TIMES = 3 if SMALL else 20


def median_seconds(function: Callable[..., Any], *arguments: Any) -> float:
    """The median of ten calls, after one that compiles."""
    jax.block_until_ready(function(*arguments))
    seconds = []
    for _ in range(10):
        started = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main() -> None:
    """Measure and print."""
    matrix = jnp.full((SIZE, SIZE), 1 / SIZE, jnp.bfloat16)
    products = jax.jit(lambda a, b: jax.lax.fori_loop(0, TIMES, lambda _, c: c @ b, a))
    vector = jnp.zeros(SIZE * SIZE * 4, jnp.float32)
    copies = jax.jit(lambda a: jax.lax.fori_loop(0, TIMES, lambda _, b: b + 1, a))
    found = {
        "device": jax.devices()[0].device_kind,
        "tflops": 2 * SIZE**3 * TIMES / median_seconds(products, matrix, matrix) / 1e12,
        "gigabytes": 2 * vector.nbytes * TIMES / median_seconds(copies, vector) / 1e9,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
