"""The compiled programs of one run of `fit`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import metrics as metric
from jaxnets.training.batches import batch_indices, data_size
from jaxnets.training.gradient import as_metrics
from jaxnets.training.nonfinite import guarded, is_bad, named_metrics, watch
from jaxnets.training.state import NonFinite, TrainState
from jaxnets.training.step import Step
from jaxnets.training.tune import compiler_options
from jaxnets.types import Array, PyTree

copy_arrays = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))


class Programs:
    """The programs of one run, each traced and compiled once.

    Attributes:
        compile_seconds: the time that tracing and compiling took.
    """

    def __init__(
        self, step: Step, steps: int, batch_size: int, shuffle: bool, evaluate: Callable[..., PyTree] | None = None
    ):
        self.compile_seconds = 0.0
        self._train = run_steps(step, steps=steps, batch_size=batch_size, shuffle=shuffle)
        self._evaluate = evaluate
        self._traced: dict[str, Any] = {}
        self._compiled: dict[str, Any] = {}

    def train_metrics(self, train_state: TrainState, data: Any) -> PyTree:
        """The shapes of the metrics of some steps."""
        stacked = self._trace("train", self._train, train_state, data, np.int32(1), donate=True).out_info[1]
        return jax.eval_shape(metric.reduce, _shapes(stacked))

    def evaluation_metrics(self, train_state: TrainState, data: Any) -> PyTree:
        """The shapes of the metrics of an evaluation."""
        return _shapes(self._trace("evaluate", self._measure, train_state, data).out_info)

    def train(self, count: int, train_state: TrainState, data: Any) -> tuple[TrainState, PyTree, NonFinite]:
        """Run `count` steps, up to the first whose numbers are not finite.

        Args:
            count: how many steps.
            train_state: where to start; its buffers are donated.
            data: the data set.

        Returns:
            The train state after the last good step, the summed metrics, and what was not finite.
        """
        run = self._compile("train", self._train, train_state, data, np.int32(count), donate=True)
        after, stacked, found = run(train_state, data, np.int32(count))
        return after, _sum(stacked, count), found

    def evaluate(self, train_state: TrainState, data: Any) -> PyTree:
        """Measure a data set."""
        return self._compile("evaluate", self._measure, train_state, data)(train_state, data)

    def _measure(self, train_state: TrainState, data: Any) -> PyTree:
        assert self._evaluate is not None
        return _named(self._evaluate(train_state, data))

    def _trace(self, name: str, function: Any, *args: Any, donate: bool = False) -> Any:
        if name not in self._traced:
            started = time.perf_counter()
            jitted = jax.jit(function, donate_argnums=0 if donate else (), compiler_options=compiler_options())
            self._traced[name] = jitted.trace(*args)
            self.compile_seconds += time.perf_counter() - started
        return self._traced[name]

    def _compile(self, name: str, function: Any, *args: Any, donate: bool = False) -> Any:
        traced = self._trace(name, function, *args, donate=donate)
        if name not in self._compiled:
            started = time.perf_counter()
            self._compiled[name] = traced.lower().compile()
            self.compile_seconds += time.perf_counter() - started
        return self._compiled[name]


def run_steps(step: Step, *, steps: int, batch_size: int, shuffle: bool) -> Callable[..., Any]:
    """Make the program of a dispatch: a traced number of steps on batches drawn from a data set, up to a bad one.

    Args:
        step: `step(train_state, batch) -> (train_state, metrics)`.
        steps: how many there are at most.
        batch_size: examples a step.
        shuffle: draw a new order every epoch.

    Returns:
        `run(train_state, data, count) -> (train_state, metrics, found)`. The metrics are named and stacked `[steps,
        ...]`, and those from `count` on are zeros.

    Example:
        >>> def first(train_state, batch):
        ...     return train_state._replace(step=train_state.step + 1), {"first": batch[0]}
        >>> run = run_steps(first, steps=3, batch_size=2, shuffle=False)
        >>> after, stacked, _ = run(TrainState.create({}, (), seed=0), jnp.array([10.0, 11.0, 12.0, 13.0]), 2)
        >>> int(after.step), stacked["first"].total.value()
        (2, Array([10., 12.,  0.], dtype=float32))
    """

    def named(train_state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Any]]:
        after, metrics = guarded(step)(train_state, batch)
        return after, _named(metrics)

    def run(train_state: TrainState, data: Any, count: Any) -> tuple[TrainState, PyTree, NonFinite | None]:
        one_step = jax.jit(named)  # traced once for its shapes and for the loop
        indices = batch_indices(train_state.key, train_state.step, steps, data_size(data), batch_size, shuffle=shuffle)

        def batch(number: Any) -> Any:
            return jax.tree.map(lambda array: array[indices[number]], data)

        def unfinished(carry: tuple[Array, TrainState, PyTree]) -> Array:
            number, train_state, _ = carry
            good: Array = (number < count) & ~is_bad(train_state.nonfinite)
            return good

        def advance(carry: tuple[Array, TrainState, PyTree]) -> tuple[Array, TrainState, PyTree]:
            number, train_state, stacked = carry
            train_state, measured = one_step(train_state, batch(number))
            put = functools.partial(jax.lax.dynamic_update_index_in_dim, index=number, axis=0)
            return number + 1, train_state, jax.tree.map(put, stacked, measured)

        watched = watch(train_state)
        shapes = jax.eval_shape(one_step, watched, batch(0))[1]
        stacked = jax.tree.map(lambda shape: jnp.zeros((steps, *shape.shape), shape.dtype), shapes)
        _, after, stacked = jax.lax.while_loop(unfinished, advance, (jnp.int32(0), watched, stacked))
        return after._replace(nonfinite=None), stacked, after.nonfinite

    return run


def _named(metrics: PyTree) -> dict[str, Any]:
    if not isinstance(metrics, dict):
        raise TypeError(f"fit: metrics are a dict, one number or array a name; got {metrics!r}")
    return named_metrics(as_metrics(metrics))


@functools.partial(jax.jit, static_argnums=1)
def _sum(stacked: PyTree, count: int) -> PyTree:
    return metric.reduce(jax.tree.map(lambda leaf: leaf[:count], stacked))


def _shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)
