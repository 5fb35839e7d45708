"""A forecast by two linear maps: one of the trend, one of the rest."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveInt, build_model
from jaxnets.errors import SettingError
from jaxnets.model import Model
from jaxnets.models.nlinear import check_history, map_times
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


@dataclasses.dataclass(frozen=True)
class DLinearConfig(ModelConfig):
    """The settings of `dlinear`.

    Attributes:
        history: how many times are known.
        horizon: how many times are forecast.
        window: over how many times the trend is averaged; odd.

    Example:
        >>> DLinearConfig(window=24)
        Traceback (most recent call last):
        ...
        jaxnets.errors.SettingError: DLinearConfig: window must be odd, so that it has a middle, got 24
    """

    history: PositiveInt = 336
    horizon: PositiveInt = 96
    window: PositiveInt = 25

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window % 2 == 0:
            raise SettingError(f"DLinearConfig: window must be odd, so that it has a middle, got {self.window}")


def _spec(config: DLinearConfig) -> Spec:
    return {name: nn.linear_spec(config.history, config.horizon) for name in ("trend", "rest")}


def _apply(
    config: DLinearConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Average for the trend, map trend and rest, add."""
    check_history(x, config.history)
    trend = moving_average(x, config.window)
    return map_times(params["trend"], trend) + map_times(params["rest"], x - trend), state


def dlinear(config: DLinearConfig = DLinearConfig()) -> Model:
    """Make the network: $y = W_t t + b_t + W_r (x - t) + b_r$ with the moving average t of x, channel by channel.

    Args:
        config: the settings.

    Returns:
        A model from series `[batch, history, channels]` to forecasts `[batch, horizon, channels]`, for any number of
        channels. Apply raises a ValueError for series of another length.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax
        >>> model = dlinear(DLinearConfig(history=8, horizon=2, window=3))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((1, 8, 3)), train=False)[0].shape
        (1, 2, 3)

    Reference:
        Zeng et al., Are Transformers Effective for Time Series Forecasting?, 2023.
    """
    return build_model(config, DLinearConfig, _spec, _apply)


def moving_average(x: Array, window: int) -> Array:
    """Average over a window around each time: $t_i = mean(x_(i-r), ..., x_(i+r))$, with $r = (window - 1) / 2$.

    Before the first and after the last time, x has the first and the last value.

    Args:
        x: `[batch, time, channels]`, floating point.
        window: how many times, odd.

    Returns:
        `[batch, time, channels]`.

    Example:
        >>> moving_average(jnp.array([0.0, 3.0, 6.0, 0.0]).reshape(1, 4, 1), 3).ravel()
        Array([1., 3., 3., 2.], dtype=float32)
    """
    reach = window // 2
    padded = jnp.pad(x, ((0, 0), (reach, reach), (0, 0)), mode="edge")
    return nn.avg_pool(padded, (window,), stride=1)
