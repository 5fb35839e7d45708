"""The compiled programs of one run of `fit`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets import metrics as metric
from jaxnets.training.compiled import scan_data
from jaxnets.training.nonfinite import NonFiniteError, all_finite, all_true, first_nonfinite
from jaxnets.training.state import TrainState
from jaxnets.training.step import Step, checked_step
from jaxnets.training.tune import compiler_options
from jaxnets.tree import paths
from jaxnets.types import PyTree

copy_arrays = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))


class Programs:
    """The programs of one run, each traced once and compiled when first needed.

    Attributes:
        compile_seconds: the time that tracing and compiling took.
    """

    def __init__(self, step: Step, batch_size: int, shuffle: bool, evaluate: Callable[..., PyTree] | None):
        self.compile_seconds = 0.0
        self._step, self._batch_size, self._shuffle = checked_step(step), batch_size, shuffle
        self._evaluate = evaluate
        self._traced: dict[Any, Any] = {}
        self._compiled: dict[Any, Any] = {}

    def train_metrics(self, count: int, train_state: TrainState, data: Any) -> PyTree:
        """The shapes of the metrics of `count` steps."""
        return _shapes(self._trace(count, self._dispatch(count), train_state, data, donate=True).out_info[1])

    def evaluation_metrics(self, train_state: TrainState, data: Any) -> PyTree:
        """The shapes of the metrics of an evaluation."""
        return _shapes(self._trace("evaluate", self._evaluate, train_state, data).out_info)

    def train(self, count: int, train_state: TrainState, before: TrainState, data: Any) -> tuple[TrainState, PyTree]:
        """Run `count` steps and return the train state after them and their summed metrics.

        Args:
            count: how many steps.
            train_state: where to start; its buffers are donated.
            before: a copy of it.
            data: the data set.

        Raises:
            NonFiniteError: if a number is not finite in or after one of the steps.
        """
        if count not in self._compiled:
            self._compile(count, self._dispatch(count), train_state, data, donate=True)
        after, metrics, finite = self._compiled[count](train_state, data)
        if not bool(finite):
            raise self._find_bad_step(count, before, data)
        return after, metrics

    def evaluate(self, train_state: TrainState, data: Any) -> PyTree:
        """Measure a data set."""
        if "evaluate" not in self._compiled:
            self._compile("evaluate", self._evaluate, train_state, data)
        return self._compiled["evaluate"](train_state, data)

    def _steps(self, count: int) -> Any:
        """Steps whose metrics are pairs: the metrics, and which numbers were finite."""

        def step(train_state: TrainState, batch: Any) -> tuple[TrainState, PyTree]:
            after, metrics, finite = self._step.checked(train_state, batch)
            return after, (metrics, finite)

        return scan_data(step, steps=count, batch_size=self._batch_size, shuffle=self._shuffle)

    def _dispatch(self, count: int) -> Any:
        run = self._steps(count)

        def dispatch(train_state: TrainState, data: Any) -> tuple[TrainState, PyTree, jax.Array]:
            after, (stacked, finite) = run(train_state, data)
            return after, metric.reduce(stacked), all_finite((stacked, _arrays_to_check(after))) & all_true(finite)

        return dispatch

    def _find_bad_step(self, count: int, train_state: TrainState, data: Any) -> NonFiniteError:
        """Take the steps again, one at a time, to name the one and the parameter that went wrong."""
        self._compile("one step", self._steps(1), train_state, data)
        for number in range(int(train_state.step), int(train_state.step) + count):
            after, (metrics, finite) = self._compiled["one step"](train_state, data)
            if not bool(all_finite((metrics, _arrays_to_check(after))) & all_true(finite)):
                return _error(number, metrics, finite, after, train_state)
            train_state = after
        first = int(train_state.step) - count
        return NonFiniteError(
            f"a number became NaN or infinite between the steps {first} and {first + count}, but not when they were "
            "taken again one by one; the values are close to the largest of their dtype",
            first,
            None,
            train_state,
        )

    def _trace(self, name: Any, function: Any, *args: Any, donate: bool = False) -> Any:
        if name not in self._traced:
            started = time.perf_counter()
            jitted = jax.jit(function, donate_argnums=0 if donate else (), compiler_options=compiler_options())
            self._traced[name] = jitted.trace(*args)
            self.compile_seconds += time.perf_counter() - started
        return self._traced[name]

    def _compile(self, name: Any, function: Any, *args: Any, donate: bool = False) -> None:
        traced = self._trace(name, function, *args, donate=donate)
        started = time.perf_counter()
        self._compiled[name] = traced.lower().compile()
        self.compile_seconds += time.perf_counter() - started


def _shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)


def _arrays_to_check(after: TrainState) -> dict[str, PyTree]:
    """What has to be finite after a step; single numbers of optimizers may be infinite, such as a best value so far."""
    moments = {path: leaf for path, leaf in paths(after.opt_state).items() if jnp.ndim(leaf) > 0}
    return {"params": after.params, "state": after.state, "opt_state": moments}


def _error(step: int, metrics: PyTree, finite: PyTree, after: TrainState, before: TrainState) -> NonFiniteError:
    found, path = [], None
    if not bool(all_true(finite.get("loss", {}))):
        found.append("the loss is not finite")
    elif (bad_metric := first_nonfinite(metrics)) is not None:
        found.append(f"the metric {bad_metric.split('/')[0]!r} is not finite")
    gradients = [path for path, flag in paths(finite.get("gradient", {})).items() if not bool(flag)]
    arrays = {what: first_nonfinite(tree) for what, tree in _arrays_to_check(after).items()}
    if gradients:
        path = gradients[0]
        found.append(f"the first bad gradient is that of {path!r}")
    elif bad := [(what, path) for what, path in arrays.items() if path is not None]:
        what, path = bad[0]
        found.append(f"the first bad array of {what} after it is {path!r}")
    advice = (
        "lower the learning rate, clip gradients (optax.clip_by_global_norm), check the data for NaN, "
        "or leave such steps out with make_step(..., skip_nonfinite=10)"
    )
    message = f"training went wrong at step {step}: {'; '.join(found)}; {advice}"
    return NonFiniteError(message, step, path, before)
