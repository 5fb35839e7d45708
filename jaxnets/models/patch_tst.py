"""PatchTST, a Transformer that reads each channel of a series as a sequence of patches."""

from __future__ import annotations

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import nn
from jaxnets.config import LayerCount, ModelConfig, PositiveInt, Rate, build_model
from jaxnets.errors import SettingError
from jaxnets.layer import layer
from jaxnets.model import Model
from jaxnets.models.nlinear import check_history
from jaxnets.nn.check import add_parameter
from jaxnets.random import subkey
from jaxnets.repeat import repeat
from jaxnets.spec import ArraySpec, Spec, repeat_spec
from jaxnets.types import Array, Key, Params, State


@dataclasses.dataclass(frozen=True)
class PatchTSTConfig(ModelConfig):
    """The settings of `patch_tst`; by default those of the paper for large data sets.

    Attributes:
        history: how many times are known.
        horizon: how many times are forecast.
        patch_size: how many times a patch holds.
        stride: from one patch to the next.
        layers: how many blocks.
        heads: of attention, a divisor of `features`.
        features: of a patch within the network.
        hidden: of the blocks' hidden layers.
        dropout_rate: the probability to drop an entry of the embeddings, of hidden layers and of what blocks add.

    Example:
        >>> PatchTSTConfig(history=12, patch_size=16)
        Traceback (most recent call last):
        ...
        jaxnets.errors.SettingError: PatchTSTConfig: patch_size must be at most the history, got 16 and 12
    """

    history: PositiveInt = 336
    horizon: PositiveInt = 96
    patch_size: PositiveInt = 16
    stride: PositiveInt = 8
    layers: LayerCount = 3
    heads: PositiveInt = 16
    features: PositiveInt = 128
    hidden: PositiveInt = 256
    dropout_rate: Rate = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.patch_size > self.history:
            sizes = f"{self.patch_size} and {self.history}"
            raise SettingError(f"PatchTSTConfig: patch_size must be at most the history, got {sizes}")
        if self.features % self.heads:
            raise SettingError(f"PatchTSTConfig: heads must divide features, got {self.heads} and {self.features}")

    @property
    def patches(self) -> int:
        """How many patches there are; the series is continued by `stride` times of its last value."""
        return (self.history - self.patch_size) // self.stride + 2


def _spec(config: PatchTSTConfig) -> Spec:
    """`patch`, `positions`, `blocks` (stacked) and `head`."""
    features, hidden = config.features, config.hidden

    def uniform(key: Key, shape: tuple[int, ...], dtype: jax.typing.DTypeLike) -> Array:
        return jax.random.uniform(key, shape, dtype, -0.02, 0.02)

    block = {
        "attention": nn.attention_spec(features, heads=config.heads),
        "norm1": nn.batch_norm_spec(features),
        "linear1": nn.linear_spec(features, hidden, axes=("features", "hidden")),
        "linear2": nn.linear_spec(hidden, features, axes=("hidden", "features")),
        "norm2": nn.batch_norm_spec(features),
    }
    return {
        "patch": nn.linear_spec(config.patch_size, features),
        "positions": ArraySpec((1, config.patches, features), uniform, axes=(None, "positions", "features")),
        "blocks": repeat_spec(block, config.layers),
        "head": nn.linear_spec(config.patches * features, config.horizon),
    }


def _apply(
    config: PatchTSTConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Normalize each series, make a vector of each patch, run the blocks, map all vectors to the forecast, undo."""
    check_history(x, config.history)
    batch, _, channels = x.shape
    x, statistics = nn.reversible_norm({}, x)
    vectors = nn.linear(params["patch"], patches_of(jnp.swapaxes(x, 1, 2), config.patch_size, config.stride))
    vectors = vectors.reshape((batch * channels, *vectors.shape[2:]))
    vectors = add_parameter(vectors, params["positions"])
    vectors = nn.dropout(vectors, config.dropout_rate, key=subkey(key, "embeddings"), train=train)
    block = functools.partial(_block, dropout_rate=config.dropout_rate, train=train)
    vectors, blocks = repeat(block, params["blocks"], vectors, state=state["blocks"], key=subkey(key, "blocks"))
    forecast = nn.linear(params["head"], vectors.reshape((batch, channels, math.prod(vectors.shape[1:]))))
    forecast = nn.reversible_norm_inverse({}, jnp.swapaxes(forecast, 1, 2), statistics)
    return forecast, {**state, "blocks": blocks}


@layer
def _block(
    params: Params, state: State, x: Array, *, dropout_rate: float | Array, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Attention, then a perceptron, with batch norm behind each sum: y = bn(x + attention(x)), z = bn(y + f(y))."""
    drop = functools.partial(nn.dropout, rate=dropout_rate, train=train)
    attended = drop(nn.attention(params["attention"], x), key=subkey(key, "attended"))
    x, norm1 = nn.batch_norm(params["norm1"], state["norm1"], x + attended, train=train)
    hidden = nn.gelu(nn.linear(params["linear1"], x), approximate=False)
    hidden = nn.linear(params["linear2"], drop(hidden, key=subkey(key, "hidden")))
    added = x + drop(hidden, key=subkey(key, "added"))
    x, norm2 = nn.batch_norm(params["norm2"], state["norm2"], added, train=train)
    return x, {**state, "norm1": norm1, "norm2": norm2}


def patches_of(x: Array, patch_size: int, stride: int) -> Array:
    """Cut `[..., time]` into overlapping patches `[..., patches, patch_size]`; the last value is repeated at the end.

    Example:
        >>> patches_of(jnp.arange(6.0), 4, 2).tolist()
        [[0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 4.0, 5.0], [4.0, 5.0, 5.0, 5.0]]
    """
    time = x.shape[-1]
    count = (time - patch_size) // stride + 2
    places = np.arange(count)[:, None] * stride + np.arange(patch_size)
    return jnp.take(x, np.minimum(places, time - 1), axis=-1)


def patch_tst(config: PatchTSTConfig = PatchTSTConfig()) -> Model:
    """Make the network: reversible norm, patches of each channel, blocks of a Transformer, and one linear head.

    All channels share the weights, and none sees another one.

    Args:
        config: the settings.

    Returns:
        A model from series `[batch, history, channels]` to forecasts `[batch, horizon, channels]`, for any number of
        channels. It needs a key in training, and its state holds the running statistics of batch norm. Apply raises a
        ValueError for series of another length.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> model = patch_tst(PatchTSTConfig(history=32, horizon=4, layers=1, heads=2, features=8, hidden=8))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((2, 32, 3)), train=False)[0].shape
        (2, 4, 3)

    Reference:
        Nie et al., A Time Series is Worth 64 Words: Long-term Forecasting with Transformers, 2023.

    Warning:
        The authors' program adds the attention scores of each block to those of the next, which their paper does not
        mention and this network does not do.
    """
    return build_model(config, PatchTSTConfig, _spec, _apply)
