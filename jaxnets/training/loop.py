"""The training loop."""

from __future__ import annotations

import contextlib
import functools
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxnets import metrics as metric
from jaxnets.training.batches import data_size, steps_per_epoch
from jaxnets.training.checkpoints import Checkpoints, Progress
from jaxnets.training.event import Callback, Event
from jaxnets.training.history import Record
from jaxnets.training.interrupt import Interrupted, StopRequest, stop_on_signals
from jaxnets.training.nonfinite import is_bad, nonfinite_error
from jaxnets.training.programs import Programs
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
        ValueError: if the sizes of data, batch and epochs do not fit, more steps are done already, a metric has the
            name of a column of the history, or the checkpoints are of another run: another seed, batch size, order,
            number of examples, model or optimizer.
        TypeError: if the metrics are not a dict of numbers or arrays by name, or a callback returns something else
            than True, False or None.
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
    _check_step(step)
    _check_arguments(validation, evaluate, epochs=epochs, steps_per_call=steps_per_call, evaluate_every=evaluate_every)
    started = time.perf_counter()
    examples = data_size(data)
    per_epoch = steps_per_epoch(examples, batch_size)
    steps_per_call = largest_call(per_epoch, steps_per_call)
    programs = Programs(step, steps_per_call, batch_size, shuffle, evaluate)
    data, validation = jax.device_put((data, validation), _placement(train_state))
    with contextlib.ExitStack() as stack:
        request = stack.enter_context(stop_on_signals(enabled=checkpoints is not None))
        settings = {"batch_size": batch_size, "examples": examples, "seed": int(train_state.seed), "shuffle": shuffle}
        run = _Run(train_state, per_epoch, epochs * per_epoch, callbacks, checkpoints, settings, request)
        dispatches = functools.partial(_dispatches, run.total, per_epoch, steps_per_call)
        like = programs.train_metrics(train_state, data)
        run.measures("train", like)
        if validation is not None:
            run.measures("validation", programs.evaluation_metrics(train_state, validation))
        if checkpoints is not None:
            stack.callback(checkpoints.close)
            run.resume(checkpoints.restore_last(train_state, like, settings))
        run.check_steps()
        first_step = run.done
        try:
            run.tell("start", "train", {})
            for count in dispatches(run.done):
                if run.stopped:
                    break
                run.train(programs, count, data, count * batch_size)
                if run.done % per_epoch == 0:
                    run.end_epoch()
                    epoch = run.done // per_epoch
                    if validation is not None and (epoch % evaluate_every == 0 or epoch == epochs or run.stopped):
                        run.evaluated(programs.evaluate(run.train_state, validation))
                run.save()
            run.leave_if_asked()
        finally:
            run.tell("end", "train", {})
    compiling = programs.compile_seconds
    running = time.perf_counter() - started - compiling
    return FitResult(run.train_state, run.metrics, compiling, running, first_step, list(run.history))


def _check_step(step: Any) -> None:
    if isinstance(step, jax.stages.Wrapped):
        raise TypeError(
            "fit: step is compiled already; fit compiles many steps into one program, so pass the step itself: "
            "make_step(...), not jax.jit or compile_step of it"
        )


def _check_arguments(validation: Any, evaluate: Any, **numbers: int) -> None:
    if (validation is None) != (evaluate is None):
        raise ValueError("fit: validation data and evaluate go together; evaluate=make_evaluate(loss) measures it")
    for name, number in numbers.items():
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"fit: {name} must be an integer of at least 1, got {number!r}")


class _Run:
    """What changes while a run goes on."""

    def __init__(
        self,
        train_state: TrainState,
        per_epoch: int,
        total: int,
        callbacks: Sequence[Callback],
        checkpoints: Checkpoints | None,
        settings: dict[str, Any],
        request: StopRequest,
    ):
        self.train_state, self.per_epoch, self.total = train_state, per_epoch, total
        self.callbacks, self.checkpoints, self.settings, self.request = callbacks, checkpoints, settings, request
        self.done, self.skipped, self.saved = int(train_state.step), int(train_state.skipped), int(train_state.step)
        self.stopped = False
        self.epoch_metrics: PyTree | None = None
        self.history: tuple[Record, ...] = ()
        self.metrics: dict[str, dict[str, Any]] = {}
        self.splits: tuple[str, ...] = ()

    def measures(self, split: str, like: PyTree) -> None:
        """Note that a split is measured, and check the names of its metrics."""
        self.splits += (split,)
        names = _names(jax.eval_shape(metric.compute, like))
        best = None if self.checkpoints is None else self.checkpoints.best
        if best is not None and best.partition("/")[0] == split and best.partition("/")[2] not in names:
            raise ValueError(
                f"Checkpoints: there is no metric {best!r}; there are "
                f"{', '.join(f'{split}/{name}' for name in names)}; choose one with best=..., or none with best=None"
            )

    def check_steps(self) -> None:
        """Raise ValueError if the run is longer than asked for."""
        if self.done > self.total:
            raise ValueError(
                f"fit: {self.done} steps are done, which is more than epochs={self.total // self.per_epoch} of "
                f"{self.per_epoch} steps; epochs counts those before too"
            )

    def resume(self, progress: Progress | None) -> None:
        """Go on from a checkpoint."""
        if progress is None:
            return
        self.train_state, self.epoch_metrics = progress.train_state, progress.epoch_metrics
        self.history = tuple(progress.history)
        self.done = self.saved = int(self.train_state.step)
        self.skipped = int(self.train_state.skipped)
        self.metrics = {split: dict(numbers) for split, numbers in progress.metrics.items()}

    def tell(
        self, kind: Any, split: Literal["train", "validation"], numbers: dict[str, Any], examples: int = 0
    ) -> None:
        """Call the callbacks."""
        epoch = self.done / self.per_epoch
        if kind in ("epoch", "evaluate"):
            self.metrics[split] = numbers
            scalars = {name: value for name, value in numbers.items() if np.ndim(value) == 0}
            self.history += ({"step": self.done, "epoch": epoch, "split": split, **scalars},)
        event = Event(
            kind, self.done, epoch, self.total, examples, split, numbers, self.train_state, self.history, self.splits
        )
        for callback in self.callbacks:
            answer = callback(event)
            if not isinstance(answer, bool | np.bool_ | None):
                raise TypeError(
                    f"fit: a callback returns True to end the run, or False or None, got {type(answer).__name__}"
                )
            self.stopped |= bool(answer)

    def train(self, programs: Programs, count: int, data: Any, examples: int) -> None:
        """Run the steps of one dispatch; if one fails, the train state before it is kept."""
        self.train_state, measured, found = programs.train(count, self.train_state, data)
        if bool(is_bad(found)):
            self.done = int(self.train_state.step)
            raise nonfinite_error(found, self.train_state, measured)
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
        self._keep_best()

    def evaluated(self, measured: PyTree) -> None:
        """Tell the metrics of the validation data, and keep the best parameters."""
        self.tell("evaluate", "validation", _numbers(measured))
        self._keep_best()

    def save(self) -> None:
        """Save if it is time to, and leave if a signal asked to."""
        if self.checkpoints is None:
            return
        every = self.checkpoints.every_steps
        due = self.done % self.per_epoch == 0 or (every is not None and self.done - self.saved >= every)
        if due or self.stopped or self.request.signal_number is not None:
            self.checkpoints.save_last(self._progress())
            self.saved = self.done
        self.leave_if_asked()

    def leave_if_asked(self) -> None:
        """Raise Interrupted after a signal; what was done is saved by then."""
        if self.checkpoints is None or self.request.signal_number is None:
            return
        self.checkpoints.close()
        raise Interrupted(
            f"stopped after {self.done:,} of {self.total:,} steps; the checkpoint is in {self.checkpoints.folder}",
            self.request.signal_number,
            self.done,
        )

    def _keep_best(self) -> None:
        if self.checkpoints is not None:
            self.checkpoints.save_best(self._progress())

    def _progress(self) -> Progress:
        return Progress(self.train_state, self.epoch_metrics, self.history, self.metrics, self.settings)


def _placement(train_state: TrainState) -> Any:
    """Where the data go: to every device that the train state lies on."""
    sharding = getattr(train_state.step, "sharding", None)
    return NamedSharding(sharding.mesh, PartitionSpec()) if isinstance(sharding, NamedSharding) else None


def _numbers(metrics: PyTree) -> dict[str, Any]:
    """The numbers of metrics: Python's where they are scalars, else numpy arrays."""
    computed: dict[str, Any] = jax.tree.map(
        lambda array: array.item() if array.ndim == 0 else array, jax.device_get(metric.compute(metrics))
    )
    return computed


def _names(computed: dict[str, Any]) -> list[str]:
    """The names of computed metrics.

    Raises:
        TypeError: if they are not a dict of arrays by name.
        ValueError: if a name is that of a column of the history.
    """
    if not all(isinstance(value, jax.ShapeDtypeStruct) for value in computed.values()):
        raise TypeError(f"fit: metrics are a dict, one number or array a name; got {computed!r}")
    taken = [name for name in ("step", "epoch", "split") if name in computed]
    if taken:
        raise ValueError(f"fit: {taken[0]!r} is a column of the history; give the metric another name")
    return sorted(computed)


def largest_call(per_epoch: int, steps_per_call: int) -> int:
    """How many steps a dispatch takes at most, if an epoch is cut into as few and as equal ones as possible.

    Example:
        >>> largest_call(938, 50), largest_call(7, 50)
        (50, 7)
    """
    return -(-per_epoch // -(-per_epoch // steps_per_call))


def _dispatches(total: int, per_epoch: int, largest: int, done: int) -> Iterator[int]:
    """The number of steps of each dispatch, none across the end of an epoch."""
    calls = -(-per_epoch // largest)
    ends = [per_epoch * (i + 1) // calls for i in range(calls)]
    while done < total:
        position = done % per_epoch
        count = next(end for end in ends if end > position) - position
        yield count
        done += count
