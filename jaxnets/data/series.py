"""Series of measurements over time, and the windows in which they are forecast."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnets.data.data_set import Standardization
from jaxnets.integers import as_integer
from jaxnets.labels import as_int32
from jaxnets.layer import names_errors
from jaxnets.types import Array, ArrayLike


class Series(NamedTuple):
    """Several measurements over time, and the splits by time in which they are forecast.

    Attributes:
        values: float32 `[time, channels]`, standardized by the training split.
        names: of the channels.
        train: the times to train on; a `range` of rows of `values`.
        validation: the times after them, to evaluate on during training.
        test: the times after those, for the final evaluation, once.
        standardization: how the values were standardized; `standardization.inverse(values)` has the measured units.
    """

    values: np.ndarray
    names: tuple[str, ...]
    train: range
    validation: range
    test: range
    standardization: Standardization


def window_starts(split: range, *, history: int, horizon: int) -> np.ndarray:
    """List the windows of a split: a window starts at s, is known up to s + history and forecast for `horizon` times.

    What is forecast lies in the split, one window for every place where it fits. The history may reach back before
    the split, but not before time 0.

    Args:
        split: consecutive times, such as `series.test`.
        history: how many times are known.
        horizon: how many times are forecast.

    Returns:
        The first time of each window, int32 `[windows]`: data for `jaxnets.training.fit`, whose loss cuts the windows
        of a batch by `forecast_windows`, so that they need no memory.

    Raises:
        ValueError: if no window fits, the split has gaps or begins before time 0, or a size is not a positive integer.
        TypeError: if `split` is not a range.

    Example:
        >>> window_starts(range(0, 8), history=4, horizon=2)
        array([0, 1, 2], dtype=int32)
        >>> window_starts(range(8, 12), history=4, horizon=2)
        array([4, 5, 6], dtype=int32)
    """
    history = as_integer("window_starts", "history", history, at_least=1)
    horizon = as_integer("window_starts", "horizon", horizon, at_least=1)
    if not isinstance(split, range):
        raise TypeError(f"window_starts: split must be a range, such as series.test, got {type(split).__name__}")
    if split.step != 1 or split.start < 0:
        raise ValueError(f"window_starts: split must be consecutive times, such as range(0, 100), got {split}")
    starts = np.arange(max(0, split.start - history), split.stop - history - horizon + 1, dtype=np.int32)
    if not len(starts):
        raise ValueError(
            f"window_starts: the times {split.start} to {split.stop} hold no window of {history} known times and "
            f"{horizon} to forecast; take a shorter history or horizon"
        )
    return starts


@names_errors
def forecast_windows(values: ArrayLike, starts: ArrayLike, *, history: int, horizon: int) -> tuple[Array, Array]:
    """Cut windows out of a series: $x_i = values[s_i : s_i + history]$, and $y_i$ the next `horizon` rows.

    It runs on the device, inside of a loss, so a data set of windows is one series and the first time of each.

    Args:
        values: the series `[time, channels]`.
        starts: the first time of each window, integers `[windows]`; see `window_starts`.
        history: how many times are known.
        horizon: how many times are forecast.

    Returns:
        The known values `[windows, history, channels]` and those to forecast `[windows, horizon, channels]`.

    Raises:
        ValueError: if the series is not `[time, channels]` or shorter than a window, or `starts` not `[windows]`.
        TypeError: if `starts` are not integers.

    Example:
        >>> series = jnp.arange(10.0)[:, None]
        >>> known, wanted = forecast_windows(series, jnp.array([0, 5]), history=3, horizon=2)
        >>> known[:, :, 0].tolist(), wanted[:, :, 0].tolist()
        ([[0.0, 1.0, 2.0], [5.0, 6.0, 7.0]], [[3.0, 4.0], [8.0, 9.0]])

    Warning:
        As with all indexing in JAX, a window that goes beyond the end repeats the last row instead of an error.
    """
    series, first = jnp.asarray(values), jnp.asarray(starts)
    if series.ndim != 2 or len(series) < history + horizon:
        raise ValueError(
            f"values must be [time, channels] with at least {history} + {horizon} times, got {list(series.shape)}"
        )
    if not jnp.issubdtype(first.dtype, jnp.integer):
        raise TypeError(f"starts must be integers [windows], as window_starts returns, got {first.dtype}")
    if first.ndim != 1:
        raise ValueError(f"starts must be integers [windows], as window_starts returns, got {list(first.shape)}")
    times = as_int32(first)[:, None] + jnp.arange(history + horizon, dtype=jnp.int32)[None]
    windows = series.at[times].get(mode="clip")
    return windows[:, :history], windows[:, history:]
