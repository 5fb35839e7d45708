"""The training loop."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxnets import metrics as metric
from jaxnets.train.batches import data_size, steps_per_epoch
from jaxnets.train.checkpoints import Checkpoints, Progress
from jaxnets.train.event import Callback, Event
from jaxnets.train.history import Record
from jaxnets.train.interrupt import Interrupted, StopRequest, stop_on_signals
from jaxnets.train.programs import Programs
from jaxnets.train.state import TrainState
from jaxnets.train.step import Step
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
        train_state: where to start; see `init_train_state`. Its buffers are donated. If it lies on a mesh of devices
            (see `data_parallel`), so do the data.
        step: `step(train_state, batch) -> (train_state, metrics)`; see `make_step`.
        data: a tree of arrays `[examples, ...]`, such as the pair (inputs, labels).
        epochs: epochs at the end of the run, those before `train_state.step` included.
        batch_size: examples a step. The incomplete last batch of an epoch is left out.
        shuffle: draw a new order every epoch.
        steps_per_call: how many steps at most are run in one dispatch, and so between two `"steps"` events.
        evaluate: what `make_evaluate` returns; needed with `validation`.
        validation: a tree of arrays like `data`, evaluated after every `evaluate_every` epochs and after the last.
        evaluate_every: epochs between two evaluations.
        callbacks: functions that are called with every `Event`; the run ends early if one returns True.
        checkpoints: where to save, and to go on from. With it, SIGINT (Ctrl-C) and SIGTERM save before they end the
            run. It is closed at the end.

    Returns:
        A `FitResult`.

    Raises:
        ValueError: if the sizes of data, batch and epochs do not fit.
        NonFiniteError: if a metric, a parameter or state is not finite after a step; a FloatingPointError that names
            the step and the path, and holds the train state before it. Checkpoints are of good states only.
        Interrupted: a KeyboardInterrupt, after a signal; the checkpoint is saved.

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
    if steps_per_call < 1 or evaluate_every < 1:
        raise ValueError(f"fit: {steps_per_call=} and {evaluate_every=} must be at least 1")
    started = time.perf_counter()
    per_epoch = steps_per_epoch(data_size(data), batch_size)
    programs = Programs(step, batch_size, shuffle, evaluate)
    data, validation = jax.device_put((data, validation), _placement(train_state))
    with contextlib.ExitStack() as stack:
        request = stack.enter_context(stop_on_signals(enabled=checkpoints is not None))
        run = _Run(train_state, per_epoch, epochs * per_epoch, callbacks, checkpoints, request)
        if checkpoints is not None:
            stack.callback(checkpoints.close)
            run.resume(checkpoints.restore_last(train_state, programs.metrics_like(train_state, data)))
        first_step = run.done
        try:
            run.tell("start", "train", {})
            for count in _dispatches(run.done, run.total, per_epoch, steps_per_call):
                if run.stopped:
                    break
                run.train(programs, count, data, count * batch_size)
                if run.done % per_epoch == 0:
                    run.end_epoch()
                    epoch = run.done // per_epoch
                    if validation is not None and (epoch % evaluate_every == 0 or epoch == epochs or run.stopped):
                        run.evaluated(programs.evaluate(run.train_state, validation))
                run.save()
        finally:
            run.tell("end", "train", {})
    seconds = time.perf_counter() - started
    compiling = programs.compile_seconds
    return FitResult(run.train_state, run.metrics, compiling, seconds - compiling, first_step, list(run.history))


class _Run:
    """What changes while a run goes on."""

    def __init__(
        self,
        train_state: TrainState,
        per_epoch: int,
        total: int,
        callbacks: Sequence[Callback],
        checkpoints: Checkpoints | None,
        request: StopRequest,
    ):
        self.train_state, self.per_epoch, self.total = train_state, per_epoch, total
        self.callbacks, self.checkpoints, self.request = callbacks, checkpoints, request
        self.done, self.skipped, self.saved = int(train_state.step), int(train_state.skipped), int(train_state.step)
        self.stopped = False
        self.epoch_metrics: PyTree | None = None
        self.history: tuple[Record, ...] = ()
        self.metrics: dict[str, dict[str, Any]] = {}

    def resume(self, progress: Progress | None) -> None:
        """Go on from a checkpoint."""
        if progress is None:
            return
        self.train_state, self.epoch_metrics = progress.train_state, progress.epoch_metrics
        self.history = tuple(progress.history)
        self.done = self.saved = int(self.train_state.step)
        self.skipped = int(self.train_state.skipped)
        for record in self.history:
            self.metrics[record["split"]] = {
                name: value for name, value in record.items() if name not in ("step", "epoch", "split")
            }

    def tell(
        self, kind: Any, split: Literal["train", "validation"], numbers: dict[str, Any], examples: int = 0
    ) -> None:
        """Call the callbacks."""
        epoch = self.done / self.per_epoch
        if kind in ("epoch", "evaluate"):
            self.metrics[split] = numbers
            scalars = {name: value for name, value in numbers.items() if np.ndim(value) == 0}
            self.history += ({"step": self.done, "epoch": epoch, "split": split, **scalars},)
        event = Event(kind, self.done, epoch, self.total, examples, split, numbers, self.train_state, self.history)
        for callback in self.callbacks:
            self.stopped |= callback(event) is True

    def train(self, programs: Programs, count: int, data: Any, examples: int) -> None:
        """Run the steps of one dispatch."""
        self.train_state, measured = programs.train(count, self.train_state, data)
        self.done += count
        skipped = int(self.train_state.skipped)
        if skipped > self.skipped:
            warnings.warn(
                f"{skipped - self.skipped} of the steps up to {self.done} were skipped, because their loss or "
                f"gradient was not finite; {skipped} in all",
                stacklevel=3,
            )
            self.skipped = skipped
        merged = measured if self.epoch_metrics is None else metric.merge(self.epoch_metrics, measured)
        self.epoch_metrics = merged
        self.tell("steps", "train", _numbers(measured), examples)

    def end_epoch(self) -> None:
        """Tell the metrics of the epoch."""
        numbers = _numbers(self.epoch_metrics)
        self.epoch_metrics = None
        self.tell("epoch", "train", numbers)

    def evaluated(self, measured: PyTree) -> None:
        """Tell the metrics of the validation data, and keep the best parameters."""
        self.tell("evaluate", "validation", _numbers(measured))
        if self.checkpoints is not None:
            self.checkpoints.save_best(self._progress())

    def save(self) -> None:
        """Save if it is time to, and leave if a signal asked to."""
        if self.checkpoints is None:
            return
        asked = self.request.signal_number
        every = self.checkpoints.every_steps
        due = self.done % self.per_epoch == 0 or (every is not None and self.done - self.saved >= every)
        if due or asked is not None:
            self.checkpoints.save_last(self._progress())
            self.saved = self.done
        if asked is not None and self.done < self.total and not self.stopped:
            self.checkpoints.close()
            raise Interrupted(
                f"stopped after {self.done:,} of {self.total:,} steps; the checkpoint is in {self.checkpoints.folder}",
                asked,
                self.done,
            )

    def _progress(self) -> Progress:
        return Progress(self.train_state, self.epoch_metrics, self.history)


def _placement(train_state: TrainState) -> Any:
    """Where the data go: to every device that the train state lies on."""
    sharding = getattr(train_state.counters, "sharding", None)
    return NamedSharding(sharding.mesh, PartitionSpec()) if isinstance(sharding, NamedSharding) else None


def _numbers(metrics: PyTree) -> dict[str, Any]:
    """The numbers of metrics: Python's where they are scalars, else numpy arrays."""
    computed: dict[str, Any] = jax.tree.map(
        lambda array: array.item() if array.ndim == 0 else array, jax.device_get(metric.compute(metrics))
    )
    return computed


def _dispatches(done: int, total: int, per_epoch: int, steps_per_call: int) -> Iterator[int]:
    """The number of steps of each dispatch: at most two different ones, none across the end of an epoch."""
    calls = -(-per_epoch // steps_per_call)
    ends = [per_epoch * (i + 1) // calls for i in range(calls)]
    while done < total:
        position = done % per_epoch
        count = next(end for end in ends if end > position) - position
        yield count
        done += count
