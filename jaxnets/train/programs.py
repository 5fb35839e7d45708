"""The compiled programs of one run of `fit`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets import metrics as metric
from jaxnets.train.compiled import scan_data
from jaxnets.train.nonfinite import NonFiniteError, all_finite, first_nonfinite
from jaxnets.train.state import TrainState
from jaxnets.train.step import Step
from jaxnets.train.tune import compiler_options
from jaxnets.types import PyTree

_copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))


class Programs:
    """The programs of one run, compiled when first needed.

    Attributes:
        compile_seconds: the time that compiling took.
    """

    def __init__(self, step: Step, batch_size: int, shuffle: bool, evaluate: Callable[..., PyTree] | None):
        self.compile_seconds = 0.0
        self._step, self._batch_size, self._shuffle = step, batch_size, shuffle
        self._evaluate = evaluate
        self._compiled: dict[Any, Any] = {}

    def metrics_like(self, train_state: TrainState, data: Any) -> PyTree:
        """The metrics of an epoch, without values."""
        stacked = jax.eval_shape(self._scan(1), train_state, data)[1]
        return jax.eval_shape(metric.reduce, stacked)

    def train(self, count: int, train_state: TrainState, data: Any) -> tuple[TrainState, PyTree]:
        """Run `count` steps and return the train state, which replaces the one passed in, and their summed metrics.

        Raises:
            NonFiniteError: if a metric, a parameter or an array of state is not finite after one of them.
        """
        before = _copy(train_state)  # the program takes the buffers of what is passed in
        if count not in self._compiled:
            self._compiled[count] = self._compile(self._checked(count), train_state, data, donate=True)
        after, metrics, finite = self._compiled[count](train_state, data)
        if not bool(finite):
            raise self._find_bad_step(count, before, data)
        return after, metrics

    def evaluate(self, train_state: TrainState, data: Any) -> PyTree:
        """Measure a data set."""
        if "evaluate" not in self._compiled:
            self._compiled["evaluate"] = self._compile(self._evaluate, train_state, data)
        return self._compiled["evaluate"](train_state, data)

    def _scan(self, count: int) -> Any:
        return scan_data(self._step, steps=count, batch_size=self._batch_size, shuffle=self._shuffle)

    def _checked(self, count: int) -> Any:
        run = self._scan(count)

        def checked(train_state: TrainState, data: Any) -> tuple[TrainState, PyTree, jax.Array]:
            after, stacked = run(train_state, data)
            return after, metric.reduce(stacked), all_finite((stacked, after.params, after.state))

        return checked

    def _find_bad_step(self, count: int, train_state: TrainState, data: Any) -> NonFiniteError:
        """Take the steps again, one at a time, to name the one and the parameter that went wrong."""
        step = self._compile(self._checked(1), train_state, data)
        for number in range(int(train_state.step), int(train_state.step) + count):
            after, metrics, finite = step(train_state, data)
            if not bool(finite):
                return _error(number, metrics, after, train_state)
            train_state = after
        first = int(train_state.step) - count
        return NonFiniteError(
            f"a number became NaN or infinite between the steps {first} and {first + count}, but not when they were "
            "taken again one by one; the values are close to the largest of their dtype",
            first,
            None,
            train_state,
        )

    def _compile(self, function: Any, *args: Any, donate: bool = False) -> Any:
        started = time.perf_counter()
        jitted = jax.jit(function, donate_argnums=0 if donate else (), compiler_options=compiler_options())
        compiled = jitted.lower(*args).compile()
        self.compile_seconds += time.perf_counter() - started
        return compiled


def _error(step: int, metrics: PyTree, after: TrainState, before: TrainState) -> NonFiniteError:
    bad_metric = first_nonfinite(metrics)
    bad = [(what, path) for what in ("params", "state") if (path := first_nonfinite(getattr(after, what))) is not None]
    found = [] if bad_metric is None else [f"the metric {bad_metric.split('/')[0]!r} is not finite"]
    found += [f"the first bad array of {what} after it is {path!r}" for what, path in bad]
    advice = (
        "lower the learning rate, clip gradients (optax.clip_by_global_norm), check the data for NaN, "
        "or leave such steps out with make_step(..., skip_nonfinite=10)"
    )
    path = bad[0][1] if bad else None
    return NonFiniteError(f"training went wrong at step {step}: {'; '.join(found)}; {advice}", step, path, before)
