"""Ending a run that no longer gets better."""

from __future__ import annotations

from jaxnets.train.event import Callback, Event
from jaxnets.train.history import Mode, check_mode, epochs_without_gain, values_of


def early_stopping(
    metric: str = "validation/loss", *, patience: int = 5, mode: Mode = "min", min_delta: float = 0.0
) -> Callback:
    """Make the callback of `fit` that ends a run when a metric has not become better for some time.

    It decides from the history in the event alone, so a resumed run ends where one that never stopped does.

    Args:
        metric: `split/name`: `"validation/loss"`, `"validation/accuracy"`, `"train/loss"`, ...
        patience: the run ends after so many measurements in a row without a better value.
        mode: `"min"` if small values are good, `"max"` if large ones are.
        min_delta: by how much a value has to be better to count.

    Returns:
        A callback. Keep the best parameters with `Checkpoints(..., best=metric, mode=mode)`.

    Raises:
        ValueError: if a setting is out of range; by the callback, if the metric is not measured.

    Example:
        `fit(..., callbacks=[early_stopping("validation/accuracy", patience=3, mode="max")])`

    Reference:
        Prechelt, Early stopping - but when?, 1998.
    """
    check_mode(mode)
    if patience < 1 or min_delta < 0 or "/" not in metric:
        raise ValueError(
            "early_stopping: need patience >= 1, min_delta >= 0 and a metric such as 'validation/loss'; "
            f"got {patience=}, {min_delta=}, {metric=}"
        )

    def stop(event: Event) -> bool:
        if event.kind not in ("start", "epoch", "evaluate"):
            return False
        return epochs_without_gain(values_of(event.history, metric), mode, min_delta) >= patience

    return stop
