"""An LSTM that reads a series and forecasts it from what it remembers at its end."""

from __future__ import annotations

import dataclasses

from jaxnets import nn
from jaxnets.config import LayerCount, ModelConfig, PositiveInt, Rate, build_model
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


@dataclasses.dataclass(frozen=True)
class LSTMForecasterConfig(ModelConfig):
    """The settings of `lstm_forecaster`.

    Attributes:
        channels: of the series.
        horizon: how many times are forecast.
        hidden: size of each layer.
        layers: how many LSTM layers.
        dropout_rate: the probability to drop an entry of what comes out of each layer.
    """

    channels: PositiveInt
    horizon: PositiveInt = 96
    hidden: PositiveInt = 128
    layers: LayerCount = 1
    dropout_rate: Rate = 0.0


def _spec(config: LSTMForecasterConfig) -> Spec:
    """`norm`, `layers` and `out`."""
    return {
        "norm": nn.reversible_norm_spec(config.channels),
        "layers": nn.stacked_spec(nn.lstm_spec, config.channels, config.hidden, count=config.layers),
        "out": nn.linear_spec(config.hidden, config.horizon * config.channels),
    }


def _apply(
    config: LSTMForecasterConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Normalize each series, run the layers, map the last hidden state to the forecast, undo the normalization."""
    rate = config.dropout_rate
    x, statistics = nn.reversible_norm(params["norm"], x)
    hidden, _ = nn.stacked(nn.lstm, params["layers"], x, rate=rate, key=subkey(key, "between"), train=train)
    last = nn.dropout(hidden[:, -1], rate, key=subkey(key, "out"), train=train)
    forecast = nn.linear(params["out"], last).reshape((len(x), config.horizon, config.channels))
    return nn.reversible_norm_inverse(params["norm"], forecast, statistics), state


def lstm_forecaster(config: LSTMForecasterConfig) -> Model:
    """Make the network: reversible norm, LSTM layers over all channels, and a linear layer of the last hidden state.

    Args:
        config: the settings.

    Returns:
        A model from series `[batch, time, channels]` of any length to forecasts `[batch, horizon, channels]`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = lstm_forecaster(LSTMForecasterConfig(channels=3, horizon=4, hidden=8))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((2, 10, 3)), train=False)[0].shape
        (2, 4, 3)

    Reference:
        Hochreiter and Schmidhuber, Long short-term memory, 1997; with reversible norm: Kim et al., Reversible Instance
        Normalization for Accurate Time-Series Forecasting against Distribution Shift, 2022.
    """
    return build_model(config, LSTMForecasterConfig, _spec, _apply)
