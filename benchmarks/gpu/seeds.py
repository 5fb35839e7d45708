"""The tiny perceptron: the host's time per step in a scan, and many seeds at once against one; prints JSON."""

from __future__ import annotations

import functools
import json
import sys
import time

import jax
import numpy as np

from benchmarks import tiny_mlp
from benchmarks.gpu import SMALL
from benchmarks.tiny_mlp.jaxnets import make_program
from jaxnets.training import compile_step, init_train_state, make_step, scan_data

SEEDS = 4 if SMALL else 256
STEPS = 20 if SMALL else 1000


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1])
    model, optimizer, loss = make_program()
    data = jax.device_put(tiny_mlp.data())
    scanned = scan_data(make_step(loss, optimizer), steps=STEPS, batch_size=tiny_mlp.BATCH)
    one, many = compile_step(scanned), compile_step(jax.vmap(scanned, in_axes=(0, None)))
    start = functools.partial(init_train_state, model, optimizer)
    states = {"one": start(0), "many": jax.jit(jax.vmap(start))(np.arange(SEEDS, dtype=np.uint32))}
    host, seconds = [], {"one": [], "many": []}
    for turn in range(rounds + 1):
        for name, program in (("one", one), ("many", many)):
            started = time.perf_counter()
            states[name], _ = program(states[name], data)
            called = time.perf_counter()
            jax.block_until_ready(states[name].params)
            if turn > 0:  # the first round compiles
                seconds[name].append(time.perf_counter() - started)
                if name == "one":
                    host.append(1e6 * (called - started) / STEPS)
    gains = [SEEDS * a / b for a, b in zip(seconds["one"], seconds["many"], strict=True)]
    found = {
        "the host's µs per step": host,
        "µs per step, one network": [1e6 * value / STEPS for value in seconds["one"]],
        f"µs per step, {SEEDS} networks at once": [1e6 * value / STEPS for value in seconds["many"]],
        f"networks per second, {SEEDS} at once against one": gains,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
