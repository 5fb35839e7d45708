"""The training loop: `fit`, and the small functions that its lines call."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnets import metrics as metric
from jaxnets.label_check import check_labels_of
from jaxnets.training.batches import data_size, steps_per_epoch
from jaxnets.training.checkpoint_store import Progress
from jaxnets.training.checkpoints import Checkpoints
from jaxnets.training.checks import check_fit, check_metrics, check_step_count, check_steps_done, positive_integers
from jaxnets.training.event import Callback, Event
from jaxnets.training.first_step import note_run
from jaxnets.training.history import Record
from jaxnets.training.interrupt import Interrupted, StopRequest, stop_on_signals
from jaxnets.training.nonfinite import is_bad, nonfinite_error
from jaxnets.training.placed import data_on_mesh, on_mesh_of
from jaxnets.training.programs import Program, evaluation, run_steps, sum_shapes, sum_steps
from jaxnets.training.settings import data_checksum, describe_optimizer
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
    """

    train_state: TrainState
    metrics: dict[str, dict[str, Any]]
    compile_seconds: float
    run_seconds: float
    first_step: int
    history: list[Record]


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
        data: a tree of arrays `[examples, ...]`, such as the pair (inputs, labels).
        epochs: epochs at the end of the run, those before `train_state.step` included.
        batch_size: examples a step. The incomplete last batch of an epoch is left out.
        shuffle: draw a new order every epoch.
        steps_per_call: how many steps at most are run in one dispatch, and so between two `"steps"` events. Where the
            dispatches do not fill an epoch, the last one computes some steps in vain; a divisor of the epoch's steps
            avoids that.
        constants: a tree of arrays that do not train, such as a reference policy or the base of an adapter; the step
            and `evaluate` take it as one more argument. It is neither copied nor checked nor saved.
        evaluate: what `make_evaluate` returns; needed with `validation`.
        validation: a tree of arrays like `data`, evaluated after every `evaluate_every` epochs and after the last.
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
        TypeError: if the data are not arrays, the step is compiled already, the metrics are not a dict of numbers or
            arrays by name, or a callback returns something else than True, False or None.
        NonFiniteError: if a metric, a parameter or state is not finite after a step; a FloatingPointError that names
            the step and the path, and holds the train state before it. Checkpoints are of good states only.
        Interrupted: a KeyboardInterrupt, after a signal; the checkpoint is saved.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> from jaxnets.training import make_step
        >>> def loss(params, state, batch, *, key, train):
        ...     value = jnp.mean((params - batch) ** 2)
        ...     return value, (state, {"loss": metric.mean(value[None])})
        >>> optimizer = optax.sgd(0.1)
        >>> start = TrainState.create(jnp.zeros(()), optimizer.init(jnp.zeros(())), seed=0)
        >>> result = fit(start, make_step(loss, optimizer), jnp.ones(32), epochs=20, batch_size=8)
        >>> round(float(result.train_state.params), 3), int(result.train_state.step)
        (1.0, 80)
    """
    started = time.perf_counter()
    check_fit(train_state, step, validation, evaluate)
    epochs, batch_size, steps_per_call, evaluate_every = positive_integers(
        "fit", epochs=epochs, batch_size=batch_size, steps_per_call=steps_per_call, evaluate_every=evaluate_every
    )
    examples, shuffle = data_size(data), bool(shuffle)
    per_epoch = steps_per_epoch(examples, batch_size)
    total, per_call = epochs * per_epoch, steps_of_call(per_epoch, steps_per_call)
    note_run((data, validation), total)
    train_state, evaluate = on_mesh_of(step, train_state, evaluate)
    train = Program(run_steps(step, steps=per_call, batch_size=batch_size, shuffle=shuffle), donate=True)
    measure = Program(evaluation(evaluate))
    settings: dict[str, Any] = {
        "batch_size": batch_size,
        "examples": examples,
        "seed": int(train_state.seed),
        "shuffle": shuffle,
    }
    if checkpoints is not None:
        settings |= {"checksum of the data": data_checksum(data), "optimizer": describe_optimizer(step)}
    data, validation, constants = (
        data_on_mesh(name, tree, train_state)
        for name, tree in (("data", data), ("validation data", validation), ("constants", constants))
    )
    with check_labels_of("fit: data", data):
        measured = {"train": sum_shapes(train.result_shapes(train_state, data, np.int32(1), constants)[1])}
    if validation is not None:
        with check_labels_of("fit: validation", validation):
            measured["validation"] = measure.result_shapes(train_state, validation, constants)
    check_metrics(measured, None if checkpoints is None else checkpoints.best)

    with _stoppable(checkpoints) as request:
        run = Progress(train_state, None, (), {}, settings)
        if checkpoints is not None:
            run = checkpoints.restore_last(train_state, measured["train"], settings) or run
        done = first_step = int(run.train_state.step)
        skipped = int(run.train_state.skipped)
        check_steps_done(done, epochs, per_epoch)

        def tell(kind: Any, split: Any = "train", numbers: Mapping[str, Any] | None = None, seen: int = 0) -> bool:
            event = Event(kind, done, done / per_epoch, total, seen, split, numbers or {}, run.train_state)
            return _call(callbacks, event._replace(history=run.history, splits=tuple(measured)))

        stop = tell("start")
        try:
            while done < total and not stop and request.signal_number is None:
                count = min(per_call - done % per_epoch % per_call, per_epoch - done % per_epoch)
                after, stacked, watch = train(run.train_state, data, np.int32(count), constants)
                run, done, before = run._replace(train_state=after), int(after.step), done
                if bool(is_bad(watch)):
                    raise nonfinite_error(watch, after, stacked)
                check_step_count(done - before, count)
                skipped = _warn_of_skipped(done, int(after.skipped), skipped)
                summed = sum_steps(stacked, count)
                run = run._replace(epoch_metrics=_added(run.epoch_metrics, summed))
                stop |= tell("steps", numbers=_numbers(summed), seen=count * batch_size)
                if done % per_epoch == 0:
                    run = _record(run, "train", run.epoch_metrics, per_epoch)._replace(epoch_metrics=None)
                    stop |= tell("epoch", numbers=run.metrics["train"])
                    _keep_best(checkpoints, run)
                    if validation is not None and (done // per_epoch % evaluate_every == 0 or done == total or stop):
                        run = _record(run, "validation", measure(run.train_state, validation, constants), per_epoch)
                        stop |= tell("evaluate", "validation", run.metrics["validation"])
                        _keep_best(checkpoints, run)
                if checkpoints is not None:
                    now = done % per_epoch == 0 or stop or request.signal_number is not None
                    checkpoints.save_last(run, now=now)
            _leave_if_asked(request, checkpoints, done, total)
        finally:
            tell("end")
    compiling = train.compile_seconds + measure.compile_seconds
    running = time.perf_counter() - started - compiling
    metrics = {split: dict(numbers) for split, numbers in run.metrics.items()}
    return FitResult(run.train_state, metrics, compiling, running, first_step, list(run.history))


@contextlib.contextmanager
def _stoppable(checkpoints: Checkpoints | None) -> Iterator[StopRequest]:
    """Note signals if there are checkpoints to save at one, and close the checkpoints at the end."""
    with stop_on_signals(enabled=checkpoints is not None) as request, checkpoints or contextlib.nullcontext():
        yield request


def _leave_if_asked(request: StopRequest, checkpoints: Checkpoints | None, done: int, total: int) -> None:
    """Raise Interrupted after a signal; what was done is saved by then."""
    if checkpoints is None or request.signal_number is None:
        return
    checkpoints.close()
    raise Interrupted(
        f"stopped after {done:,} of {total:,} steps; the checkpoint is in {checkpoints.folder}",
        request.signal_number,
        done,
    )


def _call(callbacks: Sequence[Callback], event: Event) -> bool:
    """Call all callbacks, and return whether one ends the run."""
    stop = False
    for callback in callbacks:
        answer = callback(event)
        if not isinstance(answer, bool | np.bool_ | None):
            raise TypeError(
                f"fit: a callback returns True to end the run, or False or None, got {type(answer).__name__}"
            )
        stop |= bool(answer)
    return stop


def _record(run: Progress, split: str, metrics: PyTree, per_epoch: int) -> Progress:
    """Add the metrics of a split to the history."""
    numbers, step = _numbers(metrics), int(run.train_state.step)
    scalars = {name: value for name, value in numbers.items() if np.ndim(value) == 0}
    record = {"step": step, "epoch": step / per_epoch, "split": split, **scalars}
    return run._replace(history=(*run.history, record), metrics={**run.metrics, split: numbers})


def _keep_best(checkpoints: Checkpoints | None, run: Progress) -> None:
    if checkpoints is not None:
        checkpoints.save_best(run)


def _added(metrics: PyTree | None, more: PyTree) -> PyTree:
    return more if metrics is None else metric.merge(metrics, more)


def _warn_of_skipped(done: int, now: int, before: int) -> int:
    """Warn if steps were skipped; returns how many there were in all."""
    if now > before:
        warnings.warn(
            f"{now - before} of the steps up to {done} were skipped, because numbers of them were not finite; "
            f"{now} in all",
            stacklevel=3,
        )
    return now


def _numbers(metrics: PyTree) -> dict[str, Any]:
    """The numbers of metrics: Python's where they are scalars, else numpy arrays."""
    computed: dict[str, Any] = jax.tree.map(
        lambda array: array.item() if array.ndim == 0 else array, jax.device_get(metric.compute(metrics))
    )
    return computed


def steps_of_call(per_epoch: int, steps_per_call: int) -> int:
    """How many steps a dispatch takes: half of `steps_per_call` or more, such that the last of an epoch lacks fewest.

    Example:
        >>> steps_of_call(938, 50), steps_of_call(7, 50), steps_of_call(60, 50)
        (47, 7, 30)
    """
    largest = min(per_epoch, steps_per_call)
    return min(range(largest, (largest + 1) // 2 - 1, -1), key=lambda steps: -per_epoch % steps)
