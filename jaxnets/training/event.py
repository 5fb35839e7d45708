"""What the training loop tells its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from jaxnets.training.history import History
from jaxnets.training.state import TrainState


class Event(NamedTuple):
    """One thing that happened in `fit`; a callback is a function of it.

    Attributes:
        kind: `"start"`: before the first step; `"steps"`: some steps were done; `"epoch"`: an epoch was completed;
            `"evaluate"`: a split was evaluated; `"end"`: the loop leaves, also when it leaves by an exception.
        step: optimizer steps done so far.
        epoch: epochs done so far, with the fraction of the running one.
        total_steps: optimizer steps at the end of the run.
        examples: training examples seen since the previous `"steps"` event; 0 for the other kinds.
        split: `"train"`, `"validation"` or `"test"`: what `metrics` were measured on.
        metrics: numbers by name; of the new steps (`"steps"`), of the epoch (`"epoch"`), or of the evaluated split.
        train_state: the state after `step` steps. Its buffers are given to the next step: copy what outlives the
            callback.
        history: the scalar metrics of all epochs and evaluations of the run so far, also of before it was resumed.
        splits: what the run measures.
    """

    kind: Literal["start", "steps", "epoch", "evaluate", "end"]
    step: int
    epoch: float
    total_steps: int
    examples: int
    split: Literal["train", "validation", "test"]
    metrics: Mapping[str, Any]
    train_state: TrainState
    history: History = ()
    splits: tuple[str, ...] = ("train", "validation")


Callback: TypeAlias = Callable[[Event], bool | None]
"""A plain function that `fit` calls with every event; the run ends early if it returns True. None means False."""


def call(callbacks: Sequence[Callback], event: Event) -> bool:
    """Call all callbacks, and return whether one ends the run.

    Raises:
        TypeError: if one returns something else than True, False or None.

    Example:
        >>> call([lambda event: None, lambda event: True], None)
        True
    """
    stop = False
    for callback in callbacks:
        answer = callback(event)
        if not isinstance(answer, bool | np.bool_ | None):
            raise TypeError(
                f"fit: a callback returns True to end the run, or False or None, got {type(answer).__name__}"
            )
        stop |= bool(answer)
    return stop
