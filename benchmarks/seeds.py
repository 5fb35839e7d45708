"""Many networks in one call: `python -m benchmarks.seeds CASE COUNT ROUNDS` prints JSON with seconds.

The program of the case is mapped over networks with equal initial values, which do not affect the time.
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import time

import jax
import jax.numpy as jnp

from jaxnets.training import compile_step


def one_by_one(train, states, data):
    """Train one network after the other, in one call."""
    return jax.lax.map(lambda state: train(state, data), states)


def main() -> None:
    """Time one network, `COUNT` of them by `jax.vmap`, and as many by `jax.lax.map`, in turns."""
    case_name, count, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    case = importlib.import_module(f"benchmarks.{case_name}")
    program = importlib.import_module(f"benchmarks.{case_name}.jaxnets")
    state, train, data, steps = program.start(case.weights(), *case.data())
    together = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), state)
    programs = {
        "one": (compile_step(train), state),
        "vmap": (compile_step(jax.vmap(train, in_axes=(0, None))), together),
        "map": (compile_step(functools.partial(one_by_one, train)), jax.tree.map(jnp.copy, together)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(rounds + 1):
        for name, (run, start) in programs.items():
            begun = time.perf_counter()
            after, _ = run(start, data)
            jax.block_until_ready(after.params)
            programs[name] = run, after
            if turn > 0:  # the first round compiles
                seconds[name].append(time.perf_counter() - begun)
    print(json.dumps(seconds | {"steps": steps}))


if __name__ == "__main__":
    main()
