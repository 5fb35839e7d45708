"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxnets import metrics as metric
from jaxnets.train.batches import data_size, steps_per_epoch
from jaxnets.train.compiled import compile_step, scan_data
from jaxnets.train.event import Callback, Event
from jaxnets.train.state import TrainState
from jaxnets.train.step import Step
from jaxnets.train.tune import compiler_options
from jaxnets.types import PyTree


class FitResult(NamedTuple):
    """What `fit` returns.

    Attributes:
        train_state: the state after the last step.
        metrics: the numbers of the last epoch by split: `{"train": {...}, "validation": {...}}`.
        compile_seconds: wall time spent compiling.
        run_seconds: wall time of everything else, callbacks included.
    """

    train_state: TrainState
    metrics: dict[str, dict[str, Any]]
    compile_seconds: float
    run_seconds: float


def fit(
    train_state: TrainState,
    step: Step,
    data: Any,
    *,
    epochs: int,
    batch_size: int,
    shuffle: bool = True,
    steps_per_call: int = 50,
    evaluate: Callable[[TrainState, Any], PyTree] | None = None,
    validation: Any = None,
    callbacks: Sequence[Callback] = (),
) -> FitResult:
    """Train until `epochs` epochs are done, many steps in one dispatch, with the data on the device.

    Training goes on from `train_state.step`, and which examples a step sees follows from the run's key and the
    step's number: fitting 2 epochs and then up to 5 gives the same as fitting 5.

    Args:
        train_state: where to start; see `init_train_state`. Its buffers are donated.
        step: `step(train_state, batch) -> (train_state, metrics)`; see `make_step`.
        data: a tree of arrays `[examples, ...]`, such as the pair (inputs, labels).
        epochs: epochs at the end of the run, those before `train_state.step` included.
        batch_size: examples a step. The incomplete last batch of an epoch is left out.
        shuffle: draw a new order every epoch.
        steps_per_call: how many steps at most are run in one dispatch, and so between two `"steps"` events.
        evaluate: what `make_evaluate` returns; needed with `validation`.
        validation: a tree of arrays like `data`, evaluated after every epoch.
        callbacks: functions that are called with every `Event`.

    Returns:
        A `FitResult`.

    Raises:
        ValueError: if the sizes of data, batch and epochs do not fit.
        FloatingPointError: if a metric of a step is not finite; it names the step and the metric.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jaxnets.train import make_step
        >>> def loss(params, state, batch, *, key, train):
        ...     value = jnp.mean((params - batch) ** 2)
        ...     return value, (state, {"loss": metric.mean(value[None])})
        >>> optimizer = optax.sgd(0.1)
        >>> start = TrainState.create(jnp.zeros(()), optimizer.init(jnp.zeros(())), seed=0)
        >>> result = fit(start, make_step(loss, optimizer), jnp.ones(32), epochs=20, batch_size=8)
        >>> round(float(result.train_state.params), 3), int(result.train_state.step)
        (1.0, 80)
    """
    if (validation is None) != (evaluate is None):
        raise ValueError("fit: validation data and evaluate go together; evaluate=make_evaluate(loss) measures it")
    started = time.perf_counter()
    per_epoch = steps_per_epoch(data_size(data), batch_size)
    total = epochs * per_epoch
    programs = _Programs(step, batch_size, shuffle, evaluate)
    data, validation = jax.device_put((data, validation))
    done = int(train_state.step)
    metrics: dict[str, dict[str, Any]] = {}

    def tell(kind: Any, split: Literal["train", "validation"], numbers: dict[str, Any], examples: int = 0) -> None:
        event = Event(kind, done, done / per_epoch, total, examples, split, numbers, train_state)
        for callback in callbacks:
            callback(event)

    try:
        tell("start", "train", {})
        epoch_metrics = None
        for count in _dispatches(done, total, per_epoch, steps_per_call):
            train_state, stacked = programs.train(count, train_state, data)
            measured = metric.reduce(stacked)
            _check_finite(stacked, measured, done)
            done += count
            tell("steps", "train", _numbers(measured), count * batch_size)
            epoch_metrics = measured if epoch_metrics is None else metric.merge(epoch_metrics, measured)
            if done % per_epoch == 0:
                metrics["train"] = _numbers(epoch_metrics)
                epoch_metrics = None
                tell("epoch", "train", metrics["train"])
                if validation is not None:
                    metrics["validation"] = _numbers(programs.evaluate(train_state, validation))
                    tell("evaluate", "validation", metrics["validation"])
    finally:
        tell("end", "train", {})
    seconds = time.perf_counter() - started
    return FitResult(train_state, metrics, programs.compile_seconds, seconds - programs.compile_seconds)


def _numbers(metrics: PyTree) -> dict[str, Any]:
    """The numbers of metrics: Python's where they are scalars, else numpy arrays."""
    computed: dict[str, Any] = jax.tree.map(
        lambda array: array.item() if array.ndim == 0 else array, jax.device_get(metric.compute(metrics))
    )
    return computed


def _dispatches(done: int, total: int, per_epoch: int, steps_per_call: int) -> Iterator[int]:
    """The number of steps of each dispatch: at most two different ones, none across the end of an epoch."""
    if steps_per_call < 1:
        raise ValueError(f"fit: steps_per_call must be at least 1, got {steps_per_call}")
    calls = -(-per_epoch // steps_per_call)
    ends = [per_epoch * (i + 1) // calls for i in range(calls)]
    while done < total:
        position = done % per_epoch
        count = next(end for end in ends if end > position) - position
        yield count
        done += count


class _Programs:
    """The compiled programs of one run, made when first needed, and the time that took."""

    def __init__(self, step: Step, batch_size: int, shuffle: bool, evaluate: Callable[..., PyTree] | None):
        self.compile_seconds = 0.0
        self._step, self._batch_size, self._shuffle = step, batch_size, shuffle
        self._evaluate = evaluate
        self._compiled: dict[Any, Any] = {}

    def train(self, count: int, train_state: TrainState, data: Any) -> tuple[TrainState, PyTree]:
        if count not in self._compiled:
            run = scan_data(self._step, steps=count, batch_size=self._batch_size, shuffle=self._shuffle)
            self._compiled[count] = self._compile(compile_step(run), train_state, data)
        result: tuple[TrainState, PyTree] = self._compiled[count](train_state, data)
        return result

    def evaluate(self, train_state: TrainState, data: Any) -> PyTree:
        if "evaluate" not in self._compiled:
            jitted: Any = jax.jit(self._evaluate, compiler_options=compiler_options())  # type: ignore[arg-type]
            self._compiled["evaluate"] = self._compile(jitted, train_state, data)
        return self._compiled["evaluate"](train_state, data)

    def _compile(self, jitted: Any, *args: Any) -> Any:
        started = time.perf_counter()
        compiled = jitted.lower(*args).compile()
        self.compile_seconds += time.perf_counter() - started
        return compiled


def _check_finite(stacked: PyTree, measured: PyTree, first_step: int) -> None:
    """Raise FloatingPointError that names the first step and metric that is not finite."""
    if all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(measured)):
        return
    for path, leaf in jax.tree_util.tree_leaves_with_path(stacked):
        bad = ~np.isfinite(np.asarray(leaf)).reshape(len(leaf), -1).all(axis=1)
        if bad.any():
            raise FloatingPointError(
                f"the metric {jax.tree_util.keystr(path[:1])} is not finite at step {first_step + int(bad.argmax())}; "
                "lower the learning rate, clip gradients (optax.clip_by_global_norm), or check the data for NaN"
            )
