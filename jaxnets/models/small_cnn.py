"""A small convolutional network with batch normalization, for images of a few pixels."""

from __future__ import annotations

import dataclasses

import jax

from jaxnets import nn
from jaxnets.combinators import flatten
from jaxnets.config import ModelConfig, PositiveInt, Rate, build_model
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


@dataclasses.dataclass(frozen=True)
class SmallCNNConfig(ModelConfig):
    """The settings of `small_cnn`. For 8 x 8 x 1 images and 10 classes it has 151,498 parameters.

    Attributes:
        height: of the images, in pixels.
        width: of the images, in pixels.
        channels: of the images.
        classes: how many logits the network returns.
        channel_dropout_rate: the probability to drop a channel after pooling.
        dropout_rate: the probability to drop a hidden unit.
    """

    height: PositiveInt = 8
    width: PositiveInt = 8
    channels: PositiveInt = 1
    classes: PositiveInt = 10
    channel_dropout_rate: Rate = 0.25
    dropout_rate: Rate = 0.5


def _spec(config: SmallCNNConfig) -> Spec:
    return {
        "conv1": nn.conv_spec(config.channels, 32, (3, 3)),
        "bn1": nn.batch_norm_spec(32),
        "conv2": nn.conv_spec(32, 64, (3, 3)),
        "bn2": nn.batch_norm_spec(64),
        "fc1": nn.linear_spec((config.height // 2) * (config.width // 2) * 64, 128),
        "fc2": nn.linear_spec(128, config.classes),
    }


def _apply(
    config: SmallCNNConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Two convolutions with batch norm, max pooling, channel dropout, two linear layers."""
    x = nn.conv(params["conv1"], x)
    x, bn1 = nn.batch_norm(params["bn1"], state["bn1"], x, train=train)
    x = nn.conv(params["conv2"], jax.nn.relu(x))
    x, bn2 = nn.batch_norm(params["bn2"], state["bn2"], x, train=train)
    x = nn.max_pool(jax.nn.relu(x), (2, 2))
    x = nn.spatial_dropout(x, config.channel_dropout_rate, key=subkey(key, "dropout1"), train=train)
    x = jax.nn.relu(nn.linear(params["fc1"], flatten(x)))
    x = nn.dropout(x, config.dropout_rate, key=subkey(key, "dropout2"), train=train)
    return nn.linear(params["fc2"], x), {"bn1": bn1, "bn2": bn2}


def small_cnn(config: SmallCNNConfig = SmallCNNConfig()) -> Model:
    """Make the network: conv 32, conv 64, each with batch norm and ReLU; max pool 2; linear 128; linear.

    The convolutions have 3 x 3 kernels and keep the image's size.

    Args:
        config: the settings.

    Returns:
        A model from images `[batch, height, width, channels]` to logits `[batch, classes]`; it needs a key in training,
        and its state holds the running statistics.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> model = small_cnn(SmallCNNConfig(height=8, width=8, channels=1, classes=10))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((2, 8, 8, 1)), train=False)[0].shape
        (2, 10)
    """
    return build_model(config, SmallCNNConfig, _spec, _apply)
