"""A forecast by one linear map of what was last measured and how it got there."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from jaxnets import nn
from jaxnets.config import ModelConfig, PositiveInt, build_model
from jaxnets.model import Model
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


@dataclasses.dataclass(frozen=True)
class NLinearConfig(ModelConfig):
    """The settings of `nlinear`.

    Attributes:
        history: how many times are known.
        horizon: how many times are forecast.
    """

    history: PositiveInt = 336
    horizon: PositiveInt = 96


def _spec(config: NLinearConfig) -> Spec:
    return {"fc": nn.linear_spec(config.history, config.horizon)}


def _apply(
    config: NLinearConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Subtract the last value, map the times, add it again."""
    check_history(x, config.history)
    last = x[:, -1:]
    return map_times(params["fc"], x - last) + last, state


def nlinear(config: NLinearConfig = NLinearConfig()) -> Model:
    """Make the network: $y = W (x - x_last) + b + x_last$, for each channel by itself with the same W and b.

    Args:
        config: the settings.

    Returns:
        A model from series `[batch, history, channels]` to forecasts `[batch, horizon, channels]`, for any number of
        channels. Apply raises a ValueError for series of another length.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax
        >>> model = nlinear(NLinearConfig(history=8, horizon=2))
        >>> params, state = model.init(jax.random.key(0))
        >>> x = jnp.ones((1, 8, 3))
        >>> bool(jnp.all(model.apply(params, state, x, train=False)[0] == 1.0))
        True

    Reference:
        Zeng et al., Are Transformers Effective for Time Series Forecasting?, 2023.
    """
    return build_model(config, NLinearConfig, _spec, _apply)


def map_times(params: Params, x: Array) -> Array:
    """Apply a linear layer along the axis of time, `[batch, times, channels]` to `[batch, new times, channels]`."""
    return jnp.swapaxes(nn.linear(params, jnp.swapaxes(x, 1, 2)), 1, 2)


def check_history(x: Array, history: int) -> None:
    """Raise ValueError unless x is `[batch, history, channels]`."""
    if x.ndim != 3 or x.shape[1] != history:
        raise ValueError(
            f"series must be [batch, {history}, channels], got {list(x.shape)}; cut windows with history={history}, or "
            "make the network with their history"
        )
