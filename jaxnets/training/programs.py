"""The compiled programs of one run of `fit`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets import metrics as metric
from jaxnets.training.compiled import TrainFunction
from jaxnets.training.gradient import as_metrics
from jaxnets.training.nonfinite import guarded, named_metrics, start_watch
from jaxnets.training.state import TrainState, Watch
from jaxnets.training.step import Step
from jaxnets.training.tune import compiler_options, keep_freed_memory
from jaxnets.tree import describe
from jaxnets.types import Array, PyTree

copy_arrays = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))


class Program:
    """A function that is traced and compiled once, for arguments of one structure.

    Args:
        function: what to compile.
        donate: whether the arrays of the first argument are given to the program, which may write over them.

    Attributes:
        compile_seconds: the time that tracing and compiling took.

    Example:
        >>> double = Program(lambda x: 2 * x)
        >>> double.result_shapes(jnp.ones(3)), double(jnp.ones(3))
        (ShapeDtypeStruct(shape=(3,), dtype=float32), Array([2., 2., 2.], dtype=float32))
    """

    def __init__(self, function: Callable[..., Any], *, donate: bool = False):
        self.compile_seconds = 0.0
        self._function, self._donate = function, donate
        self._traced: Any = None
        self._compiled: Any = None

    def result_shapes(self, *arguments: Any, **more: Any) -> PyTree:
        """Return the shapes and dtypes of the result."""
        if self._traced is None:
            keep_freed_memory()
            started = time.perf_counter()
            donated = 0 if self._donate else ()
            jitted = jax.jit(self._function, donate_argnums=donated, compiler_options=compiler_options())
            self._traced = jitted.trace(*arguments, **more)
            self.compile_seconds += time.perf_counter() - started
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), self._traced.out_info)

    def compiled(self, *arguments: Any, **more: Any) -> Any:
        """Return what XLA made."""
        if self._compiled is None:
            self.result_shapes(*arguments, **more)
            started = time.perf_counter()
            self._compiled = self._traced.lower().compile()
            self.compile_seconds += time.perf_counter() - started
        return self._compiled

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        """Run the program."""
        return self.compiled(*arguments, **more)(*arguments, **more)


def evaluation(evaluate: Callable[..., PyTree] | None) -> Callable[..., PyTree]:
    """Make the function that evaluates: `measure(train_state, data, constants)` returns metrics by name.

    Its attribute `at_once` is that of `make_evaluate`'s function, which also takes how many examples came before the
    data; None for any other function.

    Example:
        >>> measure = evaluation(lambda train_state, data: {"sum": jnp.sum(data)})
        >>> float(metric.compute(measure(None, jnp.ones(3), None))["sum"])
        3.0
    """

    def measure(train_state: TrainState, data: Any, constants: PyTree, **first: Array) -> PyTree:
        if evaluate is None:
            raise ValueError("there is no function that evaluates")
        return _named(evaluate(train_state, data, *_if_any(constants), **first))

    measure.at_once = getattr(evaluate, "at_once", None)  # type: ignore[attr-defined]
    return measure


def run_steps(step: Step, scan: Callable[[Step], TrainFunction]) -> Callable[..., Any]:
    """Make the program of a dispatch: a traced number of steps, up to a bad one.

    It is a scan of a fixed number of steps, of which those from `count` on change nothing; so it is compiled once.

    Args:
        step: `step(train_state, batch) -> (train_state, metrics)`.
        scan: `scan_data` with its settings, or `scan_steps`.

    Returns:
        `run(train_state, data, count, constants) -> (train_state, metrics, watch)`. The metrics are named and stacked
        `[steps, ...]`; those from `count` on mean nothing.

    Example:
        >>> from jaxnets.training import scan_data
        >>> def first(train_state, batch):
        ...     return train_state._replace(step=train_state.step + 1), {"first": batch[0]}
        >>> run = run_steps(first, functools.partial(scan_data, steps=3, batch_size=2, shuffle=False))
        >>> after, stacked, _ = run(TrainState.create({}, (), seed=0), jnp.array([10.0, 11.0, 12.0, 13.0]), 2, None)
        >>> int(after.step), stacked["first"].total.value()[:2]
        (2, Array([10., 12.], dtype=float32))
    """

    def named(train_state: TrainState, batch: Any, *constants: PyTree) -> tuple[TrainState, dict[str, Any]]:
        after, metrics = guarded(step)(train_state, batch, *constants)
        return after, _named(metrics)

    scanned = scan(named)

    def run(train_state: TrainState, data: Any, count: Any, constants: PyTree) -> tuple[TrainState, PyTree, Watch]:
        watched = train_state._replace(watch=start_watch(count))
        after, stacked = scanned(watched, data, *_if_any(constants))
        if after.watch is None:
            raise TypeError(
                "fit: the step must return the train state that it was given, changed by train_state._replace(...); "
                "it returned one without the watch that fit put in"
            )
        return after._replace(watch=None), stacked, after.watch

    return run


@functools.partial(jax.jit, static_argnums=1)
def sum_steps(stacked: PyTree, count: int) -> PyTree:
    """Add up the first `count` of stacked metrics.

    Example:
        >>> float(metric.compute(sum_steps(jax.vmap(metric.mean)(jnp.array([[1.0], [3.0], [9.0]])), 2)))
        2.0
    """
    return metric.reduce(jax.tree.map(lambda leaf: leaf[:count], stacked))


def sum_shapes(stacked: PyTree) -> PyTree:
    """Return the shapes of stacked metrics that are added up.

    Example:
        >>> sum_shapes(jax.eval_shape(jax.vmap(metric.mean), jnp.ones((3, 2)))).parts.shape
        (2, 2)
    """
    return jax.eval_shape(metric.reduce, stacked)


def _named(metrics: PyTree) -> dict[str, Any]:
    if not isinstance(metrics, dict):
        raise TypeError(f"fit: metrics are a dict, one number or array a name; got {describe(metrics)}")
    return named_metrics(as_metrics(metrics))


def _if_any(constants: PyTree) -> tuple[PyTree, ...]:
    return () if constants is None else (constants,)
