"""The history of a run: what `fit` measured, epoch by epoch, and what is decided from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

Record: TypeAlias = Mapping[str, Any]
"""One measurement: `step`, `epoch`, `split` and the scalar metrics by name."""
History: TypeAlias = Sequence[Record]
"""All measurements of a run, oldest first."""
Mode: TypeAlias = Literal["min", "max"]


def values_of(history: History, metric: str) -> list[float]:
    """Return all values of a metric, oldest first.

    Args:
        history: records.
        metric: `split/name`, such as `"validation/loss"`.

    Raises:
        ValueError: if the split was measured but has no such metric, with those it has.

    Example:
        >>> values_of([{"step": 5, "epoch": 1, "split": "validation", "loss": 0.5}], "validation/loss")
        [0.5]
    """
    split, _, name = metric.partition("/")
    records = [record for record in history if record["split"] == split]
    for record in records:
        if name not in record:
            names = [f"{split}/{key}" for key in record if key not in ("step", "epoch", "split")]
            raise ValueError(f"there is no metric {metric!r}; there are {', '.join(names)}")
    return [record[name] for record in records]


def is_best(history: History, metric: str, mode: Mode = "min") -> bool:
    """Return whether the newest value of a metric is better than all before it; NaN never is.

    Example:
        >>> losses = [{"step": i, "epoch": i, "split": "validation", "loss": v} for i, v in enumerate([3.0, 1.0, 2.0])]
        >>> [is_best(losses[:n], "validation/loss") for n in (1, 2, 3)]
        [True, True, False]
    """
    values = values_of(history, metric)
    return bool(values) and epochs_without_gain(values, mode) == 0 and not math.isnan(values[-1])


def best_step(history: History, metric: str, mode: Mode = "min") -> int | None:
    """Return the step at which a metric was best, the first one of equal values; None if it was not measured.

    Example:
        >>> losses = [{"step": i, "epoch": i, "split": "validation", "loss": v} for i, v in enumerate([3.0, 1.0, 2.0])]
        >>> best_step(losses, "validation/loss")
        1
    """
    split = metric.partition("/")[0]
    found = None
    for number, record in enumerate(history, start=1):
        if record["split"] == split and is_best(history[:number], metric, mode):
            found = record["step"]
    return found


def epochs_without_gain(values: Sequence[float], mode: Mode = "min", min_delta: float = 0.0) -> int:
    """Count the values after the best one; a value is better if it is so by more than `min_delta`.

    Example:
        >>> epochs_without_gain([3.0, 1.0, 2.0, 1.0]), epochs_without_gain([0.5, 0.6, 0.605], "max", min_delta=0.01)
        (2, 1)
    """
    check_mode(mode)
    sign = -1.0 if mode == "max" else 1.0
    best, since = math.inf, 0
    for value in values:
        if sign * value < best - min_delta:
            best, since = sign * value, 0
        else:
            since += 1
    return since


def check_mode(mode: str) -> None:
    """Raise ValueError unless the mode is min or max."""
    if mode not in ("min", "max"):
        raise ValueError(f"mode must be 'min' or 'max', got {mode!r}")


def check_metric(function: str, metric: str, mode: Mode | None) -> Mode:
    """Check the name of a metric and return its mode, which has to be given unless the metric is a loss.

    Raises:
        ValueError: if the name is not `split/name`, or the mode is missing or another word.

    Example:
        >>> check_metric("early_stopping", "validation/loss", None)
        'min'
    """
    split, _, name = metric.partition("/")
    if split not in ("train", "validation") or not name:
        raise ValueError(
            f"{function}: a metric is named 'train/...' or 'validation/...', such as 'validation/loss'; got {metric!r}"
        )
    if mode is None and name != "loss":
        raise ValueError(f"{function}: say mode='max' or mode='min': are large or small values of {metric!r} good?")
    mode = mode or "min"
    check_mode(mode)
    return mode
