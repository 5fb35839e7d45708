"""The training loop: `fit`, and the small functions that its lines call."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxnets.data.source import Source
from jaxnets.html_table import html_table
from jaxnets.label_check import check_labels_of
from jaxnets.processes import check_same, explain_lost
from jaxnets.training.batches import steps_per_epoch
from jaxnets.training.checkpoint_store import Progress
from jaxnets.training.checkpoints import Checkpoints
from jaxnets.training.checks import (
    check_callbacks,
    check_fit,
    check_metrics,
    check_steps_done,
    positive_integers,
)
from jaxnets.training.event import Callback
from jaxnets.training.feeds import Feed, SourceEvaluation, feed_of
from jaxnets.training.first_step import note_run
from jaxnets.training.history import Record
from jaxnets.training.interrupt import StopRequest, stop_on_signals
from jaxnets.training.placed import check_in_all_processes, data_on_mesh, on_mesh_of
from jaxnets.training.programs import Program, evaluation, run_steps, sum_shapes
from jaxnets.training.running import Running
from jaxnets.training.settings import describe_optimizer
from jaxnets.training.state import TrainState
from jaxnets.training.step import Step
from jaxnets.types import PyTree


class FitResult(NamedTuple):
    """What `fit` returns.

    Attributes:
        train_state: the state after the last step.
        metrics: the numbers of the last epoch by split: `{"train": {...}, "validation": {...}}`.
        compile_seconds: wall time spent compiling.
        run_seconds: wall time of everything else, callbacks included.
        first_step: where this call began: above 0 if it went on from a checkpoint.
        history: the scalar metrics of every epoch and evaluation: `step`, `epoch`, `split`, and the metrics by name.
        waiting_seconds: wall time, of `run_seconds`, that was spent waiting for a `Source`.
        evaluate_seconds: wall time, of `run_seconds`, that was spent on evaluation.
    """

    train_state: TrainState
    metrics: dict[str, dict[str, Any]]
    compile_seconds: float
    run_seconds: float
    first_step: int
    history: list[Record]
    waiting_seconds: float = 0.0
    evaluate_seconds: float = 0.0

    def _repr_html_(self) -> str:
        """The last metrics, as a notebook shows them."""
        scalars = {
            split: {name: f"{value:.4g}" for name, value in numbers.items() if np.ndim(value) == 0}
            for split, numbers in self.metrics.items()
        }
        names = list(dict.fromkeys(name for numbers in scalars.values() for name in numbers))
        rows = [[split, *(numbers.get(name, "") for name in names)] for split, numbers in scalars.items()]
        took = f"{int(self.train_state.step):,} steps, {self.run_seconds:.1f} s, {self.compile_seconds:.1f} s compiling"
        return html_table(["split", *names], rows, notes=[took])


def fit(
    train_state: TrainState,
    step: Step,
    data: Any,
    *,
    epochs: int,
    batch_size: int,
    shuffle: bool = True,
    steps_per_call: int = 50,
    constants: PyTree = None,
    evaluate: Callable[[TrainState, Any], PyTree] | None = None,
    validation: Any = None,
    evaluate_every: int = 1,
    callbacks: Sequence[Callback] = (),
    checkpoints: Checkpoints | None = None,
) -> FitResult:
    """Train until `epochs` epochs are done, many steps in one dispatch, with the data on the device.

    Training goes on from the last of the `checkpoints` if there is one, else from `train_state.step`. Which examples a
    step sees follows from the run's seed and the step's number: fitting 2 epochs and then up to 5 gives the same bits
    as fitting 5, and so does a process that was killed and started again.

    Args:
        train_state: where to start; see `init_train_state`. Its arrays are given to the steps, which write over them:
            go on with those of the result. If it lies on a mesh of devices (see `data_parallel`), so do the data.
        step: `step(train_state, batch) -> (train_state, metrics)`, which adds 1 to `train_state.step`; see `make_step`.
            Its metrics are a dict of streamable metrics or plain numbers, also nested: names are joined by slashes.
        data: a tree of arrays `[examples, ...]`, such as the pair (inputs, labels), or a `jaxnets.data.Source` of
            examples that are read when they are needed. Then a dispatch takes no more steps than 64 MiB of batches.
        epochs: epochs at the end of the run, those before `train_state.step` included.
        batch_size: examples a step. The incomplete last batch of an epoch is left out.
        shuffle: draw a new order every epoch.
        steps_per_call: how many steps at most are run in one dispatch, and so between two `"steps"` events. Where the
            dispatches do not fill an epoch, the last one computes some steps in vain; a divisor of the epoch's steps
            avoids that.
        constants: a tree of arrays that do not train, such as a reference policy or the base of an adapter; the step
            and `evaluate` take it as one more argument. It is neither copied nor checked nor saved.
        evaluate: what `make_evaluate` returns; needed with `validation`.
        validation: a tree of arrays or a source like `data`, evaluated after every `evaluate_every` epochs and after
            the last.
        evaluate_every: epochs between two evaluations.
        callbacks: functions that are called with every `Event`; the run ends early if one returns True.
        checkpoints: where to save, and to go on from. With it, SIGINT (Ctrl-C), SIGTERM, SIGHUP and SIGUSR1 save
            before they end the run. It is closed at the end.

    Returns:
        A `FitResult`.

    Raises:
        ValueError: if the sizes of data, batch and epochs do not fit, labels are none that the loss takes, more steps
            are done already, the train state was given to another run, the step does not count once, a metric has the
            name of a column of the history, or the checkpoints are of another run: another seed, batch size, order,
            data set, model or optimizer.
        TypeError: if the data are not arrays, callbacks not a list of functions, the step is compiled already, the
            metrics are not a dict of numbers or arrays by name, or a callback returns something else than True, False
            or None.
        NonFiniteError: if a metric, a parameter or state is not finite after a step; a FloatingPointError that names
            the step and the path, and holds the train state before it. Checkpoints are of good states only.
        SaveError: an OSError, if a checkpoint cannot be written; the one before is complete.
        Interrupted: a KeyboardInterrupt, after a signal; the checkpoint is saved.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jaxnets import metrics
        >>> from jaxnets.training import make_step
        >>> def loss(params, state, batch, *, key, train):
        ...     value = jnp.mean((params - batch) ** 2)
        ...     return value, (state, {"loss": metrics.mean(value[None])})
        >>> optimizer = optax.sgd(0.1)
        >>> start = TrainState.create(jnp.zeros(()), optimizer.init(jnp.zeros(())), seed=0)
        >>> result = fit(start, make_step(loss, optimizer), jnp.ones(32), epochs=20, batch_size=8)
        >>> round(float(result.train_state.params), 3), int(result.train_state.step)
        (1.0, 80)
    """
    started = time.perf_counter()
    check_fit(train_state, step, validation, evaluate, checkpoints)
    callbacks = check_callbacks(callbacks)
    epochs, batch_size, steps_per_call, evaluate_every = positive_integers(
        "fit", epochs=epochs, batch_size=batch_size, steps_per_call=steps_per_call, evaluate_every=evaluate_every
    )
    feed = feed_of(data)
    per_epoch = steps_per_epoch(feed.examples, batch_size)
    total = epochs * per_epoch
    note_run(tuple(() if isinstance(tree, Source) else tree for tree in (data, validation)), total)
    train_state, evaluate = on_mesh_of(step, train_state, evaluate)
    check_in_all_processes(train_state)
    given = {"data": data, "validation data": validation, "constants": constants, "batch_size": batch_size}
    given |= {"epochs": epochs, "steps_per_call": steps_per_call, "evaluate_every": evaluate_every}
    check_same("fit", given)
    settings = {} if checkpoints is None else _settings(step, feed, train_state, batch_size, shuffle)
    per_call = steps_of_call(per_epoch, feed.most_steps(steps_per_call, batch_size))
    scan = functools.partial(feed.scan, steps=per_call, batch_size=batch_size, shuffle=bool(shuffle))
    train = Program(run_steps(step, scan), donate=True)
    measure = (SourceEvaluation if isinstance(validation, Source) else Program)(evaluation(evaluate))
    feed.place(train_state, getattr(step, "placement", None), total)
    programs = _Programs(train, measure, feed, *_placed(constants, validation, train_state))
    splits = _trace(programs, train_state, data)
    check_metrics(splits, None if checkpoints is None else checkpoints.best)

    with _stoppable(checkpoints) as request:
        progress = Progress(train_state, None, (), {}, settings)
        if checkpoints is not None:
            progress = checkpoints.restore_last(train_state, splits["train"], settings) or progress
        run = Running(progress, per_epoch, total, splits, callbacks, request, checkpoints)
        first_step = run.done
        check_steps_done(run.done, epochs, per_epoch)
        _train(run, programs, per_call, batch_size, evaluate_every)
    return _result(run, programs, first_step, time.perf_counter() - started)


def _settings(step: Step, feed: Feed, train_state: TrainState, batch_size: int, shuffle: bool) -> dict[str, Any]:
    """What has to be the same when a run goes on from its checkpoints."""
    settings = {"batch_size": batch_size, "examples": feed.examples, "shuffle": bool(shuffle)}
    settings |= {"seed": int(train_state.seed), "checksum of the data": feed.checksum()}
    return settings | {"optimizer": describe_optimizer(step)}


class _Programs(NamedTuple):
    """What is compiled, and what it computes on but the train state."""

    train: Program
    measure: Program | SourceEvaluation
    feed: Feed
    constants: PyTree
    validation: Any


def _train(run: Running, programs: _Programs, per_call: int, batch_size: int, evaluate_every: int) -> None:
    """Train to the end, or until somebody asks to stop."""
    train, measure, feed, constants, validation = programs
    try:
        run.begin()
        if run.goes_on():
            feed.begin(run.done)
            train.compiled()
        while run.goes_on():
            count = run.next_steps(per_call)
            now, batches = run.progress.train_state, feed.at(run.done, count)
            after, stacked, watch = train(now, batches, np.int32(count), constants)
            run.add_steps(after, stacked, watch, count, count * batch_size)
            if validation is not None and run.evaluation_is_due(evaluate_every):
                run.evaluate(measure, validation, constants)
            run.save()
        run.leave_if_asked()
    finally:
        feed.close()
        run.end()


def _result(run: Running, programs: _Programs, first_step: int, total_seconds: float) -> FitResult:
    compiling = programs.train.compile_seconds + programs.measure.compile_seconds
    return FitResult(
        run.progress.train_state,
        {split: dict(numbers) for split, numbers in run.progress.metrics.items()},
        compile_seconds=compiling,
        run_seconds=total_seconds - compiling,
        first_step=first_step,
        history=list(run.progress.history),
        waiting_seconds=programs.feed.waited,
        evaluate_seconds=run.evaluate_seconds,
    )


def _placed(constants: PyTree, validation: Any, train_state: TrainState) -> tuple[PyTree, Any]:
    """Put the constants, and validation data that are no source, where the train state lies."""
    validation = (
        validation if isinstance(validation, Source) else data_on_mesh("validation data", validation, train_state)
    )
    return data_on_mesh("constants", constants, train_state), validation


def _trace(programs: _Programs, train_state: TrainState, data: Any) -> dict[str, PyTree]:
    """Trace the programs, which checks the labels, and return the shapes of the metrics of each split."""
    train, measure, feed, constants, validation = programs
    with _checked_labels("fit: data", data):
        traced = train.result_shapes(train_state, feed.shapes(), np.int32(1), constants)
    splits = {"train": sum_shapes(traced[1])}
    if validation is not None:
        with _checked_labels("fit: validation", validation):
            splits["validation"] = measure.result_shapes(train_state, validation, constants)
    return splits


def _checked_labels(name: str, data: Any) -> contextlib.AbstractContextManager[None]:
    """Compare labels with what the loss takes, while it is traced, but for those that have not been read."""
    return contextlib.nullcontext() if isinstance(data, Source) else check_labels_of(name, data)


@contextlib.contextmanager
def _stoppable(checkpoints: Checkpoints | None) -> Iterator[StopRequest]:
    """Note signals if there are checkpoints to save at one, and close the checkpoints at the end."""
    saved = "" if checkpoints is None else f", and they go on from the last checkpoint in {checkpoints.folder}"
    with (
        stop_on_signals(enabled=checkpoints is not None) as request,
        explain_lost(f"start all processes again{saved}"),
        checkpoints or contextlib.nullcontext(),
    ):
        yield request


def steps_of_call(per_epoch: int, steps_per_call: int) -> int:
    """How many steps a dispatch takes: half of `steps_per_call` or more, such that the last of an epoch lacks fewest.

    Example:
        >>> steps_of_call(938, 50), steps_of_call(7, 50), steps_of_call(60, 50)
        (47, 7, 30)
    """
    largest = min(per_epoch, steps_per_call)
    return min(range(largest, (largest + 1) // 2 - 1, -1), key=lambda steps: -per_epoch % steps)
