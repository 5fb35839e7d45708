"""Compile and run a program, and say how long each takes."""

from __future__ import annotations

import time
from typing import Any

import jax


def compile_and_run(program: Any, *arguments: Any) -> tuple[Any, float, float]:
    """Compile what `jax.jit` returned for these arguments, and call it; returns its result, and the seconds of each."""
    started = time.perf_counter()
    compiled = program.lower(*arguments).compile()
    compiled_at = time.perf_counter()
    result = jax.block_until_ready(compiled(*arguments))
    return result, compiled_at - started, time.perf_counter() - compiled_at
