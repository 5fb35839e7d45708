"""What a run of `fit` has reached, whom it tells, and what it saves."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxnets import metrics as metric
from jaxnets.processes import to_host
from jaxnets.training.checkpoint_store import Progress
from jaxnets.training.checkpoints import Checkpoints
from jaxnets.training.checks import check_step_count
from jaxnets.training.event import Callback, Event, call
from jaxnets.training.feeds import SourceEvaluation
from jaxnets.training.interrupt import Interrupted, StopRequest
from jaxnets.training.nonfinite import is_bad, nonfinite_error
from jaxnets.training.programs import Program, sum_steps
from jaxnets.training.state import TrainState
from jaxnets.types import PyTree


class Running:
    """A run of `fit` that is going on.

    Attributes:
        progress: all that it needs to go on.
        done: optimizer steps done.
        evaluate_seconds: wall time of evaluation.
    """

    def __init__(
        self,
        progress: Progress,
        per_epoch: int,
        total: int,
        splits: Iterable[str],
        callbacks: Sequence[Callback],
        request: StopRequest,
        checkpoints: Checkpoints | None,
    ):
        """Begin with a progress.

        Args:
            progress: of the beginning, or of a checkpoint.
            per_epoch: optimizer steps per epoch.
            total: optimizer steps at the end of the run.
            splits: what the run measures.
            callbacks: who is told.
            request: whether the run is to stop.
            checkpoints: where to save.
        """
        self.progress = progress
        self.done = int(progress.train_state.step)
        self.evaluate_seconds = 0.0
        self._skipped = int(progress.train_state.skipped)
        self._per_epoch, self._total, self._splits = per_epoch, total, tuple(splits)
        self._callbacks, self._request, self._checkpoints = callbacks, request, checkpoints

    def goes_on(self) -> bool:
        """Whether steps are left, and nobody asked to stop."""
        return self.done < self._total and not self._request

    @property
    def at_end_of_epoch(self) -> bool:
        """Whether an epoch has just been completed."""
        return self.done % self._per_epoch == 0

    def next_steps(self, per_call: int) -> int:
        """How many steps the next dispatch takes: at most `per_call`, and to the end of the epoch."""
        in_epoch = self.done % self._per_epoch
        return min(per_call - in_epoch % per_call, self._per_epoch - in_epoch)

    def event(
        self, kind: Any, split: Any = "train", numbers: Mapping[str, Any] | None = None, examples: int = 0
    ) -> Event:
        """Make an event of what has just happened."""
        epoch, now = self.done / self._per_epoch, self.progress
        happened = Event(kind, self.done, epoch, self._total, examples, split, numbers or {}, now.train_state)
        return happened._replace(history=now.history, splits=self._splits)

    def begin(self) -> None:
        """Tell the callbacks that the run begins."""
        self._request.tell(self._callbacks, self.event("start"))
        self._request.agree()

    def end(self) -> None:
        """Tell the callbacks that the run ends."""
        call(self._callbacks, self.event("end"))

    def add_steps(self, after: TrainState, stacked: PyTree, watch: Any, count: int, examples: int) -> None:
        """Note what a dispatch of steps returned, and tell the callbacks.

        Args:
            after: the train state after them.
            stacked: their metrics.
            watch: whether all numbers are finite; see `jaxnets.training.nonfinite`.
            count: how many steps there were.
            examples: how many examples they saw.

        Raises:
            NonFiniteError: if something is not finite.
            ValueError: if the steps did not count themselves.
        """
        before = self.done
        self.progress, self.done = self.progress._replace(train_state=after), int(after.step)
        if bool(is_bad(watch)):
            raise nonfinite_error(watch, after, stacked)
        check_step_count(self.done - before, count)
        self._warn_of_skipped(int(after.skipped))
        summed = sum_steps(stacked, count)
        of_epoch = self.progress.epoch_metrics
        self.progress = self.progress._replace(
            epoch_metrics=summed if of_epoch is None else metric.merge(of_epoch, summed)
        )
        self._request.tell(self._callbacks, self.event("steps", numbers=_numbers(summed), examples=examples))
        if self.at_end_of_epoch:
            self._record("train", self.progress.epoch_metrics)
            self.progress = self.progress._replace(epoch_metrics=None)
            self._request.tell(self._callbacks, self.event("epoch", numbers=self.progress.metrics["train"]))
        self._request.agree()
        if self.at_end_of_epoch:
            self._keep_best()

    def evaluation_is_due(self, evaluate_every: int) -> bool:
        """Whether an epoch has just ended after which the run evaluates: its last one, or one of every few."""
        last = self.done == self._total or self._request.stop
        return self.at_end_of_epoch and (last or self.done // self._per_epoch % evaluate_every == 0)

    def evaluate(self, measure: Program | SourceEvaluation, validation: Any, constants: PyTree) -> None:
        """Evaluate, and tell the callbacks."""
        began = time.perf_counter() - measure.compile_seconds
        self._record("validation", measure(self.progress.train_state, validation, constants))
        self.evaluate_seconds += time.perf_counter() - measure.compile_seconds - began
        numbers = self.progress.metrics["validation"]
        self._request.tell(self._callbacks, self.event("evaluate", "validation", numbers))
        self._request.agree()
        self._keep_best()

    def save(self) -> None:
        """Save the progress, if that is due."""
        if self._checkpoints is not None:
            self._checkpoints.save_last(self.progress, now=self.at_end_of_epoch or bool(self._request))

    def leave_if_asked(self) -> None:
        """Raise Interrupted after a signal; what was done is saved by then."""
        if self._checkpoints is None or self._request.signal_number is None:
            return
        self.save()  # also where no step was done
        self._checkpoints.close()
        raise Interrupted(
            f"stopped after {self.done:,} of {self._total:,} steps; the checkpoint is in {self._checkpoints.folder}",
            self._request.signal_number,
            self.done,
        )

    def _record(self, split: str, metrics: PyTree) -> None:
        """Add the metrics of a split to the history."""
        numbers, now = _numbers(metrics), self.progress
        scalars = {name: value for name, value in numbers.items() if np.ndim(value) == 0}
        record = {"step": self.done, "epoch": self.done / self._per_epoch, "split": split, **scalars}
        self.progress = now._replace(history=(*now.history, record), metrics={**now.metrics, split: numbers})

    def _keep_best(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.save_best(self.progress)

    def _warn_of_skipped(self, now: int) -> None:
        """Warn if steps were skipped."""
        if now > self._skipped:
            warnings.warn(
                f"{now - self._skipped} of the steps up to {self.done} were skipped, because numbers of them were not "
                f"finite; {now} in all",
                stacklevel=5,  # of the program that called fit
            )
        self._skipped = now


def _numbers(metrics: PyTree) -> dict[str, Any]:
    """The numbers of metrics: Python's where they are scalars, else numpy arrays."""
    computed: dict[str, Any] = jax.tree.map(
        lambda array: array.item() if array.ndim == 0 else array, to_host(metric.compute(metrics))
    )
    return computed
