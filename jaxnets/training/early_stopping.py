"""Ending a run that no longer gets better."""

from __future__ import annotations

from jaxnets.integers import as_integer
from jaxnets.training.event import Callback, Event
from jaxnets.training.history import Mode, check_metric, epochs_without_gain, values_of


def early_stopping(
    metric: str = "validation/loss", *, patience: int = 5, mode: Mode | None = None, min_delta: float = 0.0
) -> Callback:
    """Make the callback of `fit` that ends a run when a metric has not become better for some time.

    It decides from the history in the event alone, so a resumed run ends where one that never stopped does.

    Args:
        metric: `split/name`: `"validation/loss"`, `"validation/accuracy"`, `"train/loss"`, ...
        patience: the run ends after so many measurements in a row without a better value.
        mode: `"min"` if small values are good, `"max"` if large ones are; a loss needs none.
        min_delta: by how much a value has to be better to count.

    Returns:
        A callback. Keep the best parameters with `Checkpoints(..., best=metric, mode=mode)`.

    Raises:
        ValueError: if a setting is out of range; by the callback, at the start, if the split is not measured, and
            at its first measurement, if it has no such metric.

    Example:
        `fit(..., callbacks=[early_stopping("validation/accuracy", patience=3, mode="max")])`

    Reference:
        Prechelt, Early stopping - but when?, 1998.
    """
    checked = check_metric("early_stopping", metric, mode)
    split = metric.partition("/")[0]
    patience = as_integer("early_stopping", "patience", patience, at_least=1)
    if not min_delta >= 0:
        raise ValueError(f"early_stopping: min_delta must be at least 0, got {min_delta}")

    def stop(event: Event) -> bool:
        if event.kind == "start" and split not in event.splits:
            raise ValueError(
                f"early_stopping: {metric!r} is not measured in this run, only {', '.join(event.splits)}; "
                "give fit validation=... and evaluate=make_evaluate(loss)"
            )
        if event.kind not in ("start", "epoch", "evaluate"):
            return False
        return epochs_without_gain(values_of(event.history, metric), checked, min_delta) >= patience

    return stop
