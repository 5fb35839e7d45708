"""A convolutional network for small gray images, such as MNIST's."""

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
class MnistCNNConfig(ModelConfig):
    """The settings of `mnist_cnn`. For 28 x 28 x 1 images and 10 classes it has 1,199,882 parameters.

    Attributes:
        height: of the images, in pixels.
        width: of the images, in pixels.
        channels: of the images.
        classes: how many logits the network returns.
        channel_dropout_rate: the probability to drop a channel after pooling.
        dropout_rate: the probability to drop a hidden unit.
    """

    height: PositiveInt = 28
    width: PositiveInt = 28
    channels: PositiveInt = 1
    classes: PositiveInt = 10
    channel_dropout_rate: Rate = 0.25
    dropout_rate: Rate = 0.5

    @property
    def pooled(self) -> tuple[int, int, int]:
        """Height, width and channels of what the convolutions return."""
        return (self.height - 4) // 2, (self.width - 4) // 2, 64


def _spec(config: MnistCNNConfig) -> Spec:
    height, width, channels = config.pooled
    return {
        "conv1": nn.conv_spec(config.channels, 32, (3, 3)),
        "conv2": nn.conv_spec(32, channels, (3, 3)),
        "fc1": nn.linear_spec(height * width * channels, 128),
        "fc2": nn.linear_spec(128, config.classes),
    }


def _apply(
    config: MnistCNNConfig, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Two convolutions, max pooling, channel dropout, two linear layers."""
    x = jax.nn.relu(nn.conv(params["conv1"], x, padding="VALID"))
    x = jax.nn.relu(nn.conv(params["conv2"], x, padding="VALID"))
    x = nn.max_pool(x, (2, 2))
    x = nn.spatial_dropout(x, config.channel_dropout_rate, key=subkey(key, "dropout1"), train=train)
    x = jax.nn.relu(nn.linear(params["fc1"], flatten(x)))
    x = nn.dropout(x, config.dropout_rate, key=subkey(key, "dropout2"), train=train)
    return nn.linear(params["fc2"], x), state


def mnist_cnn(config: MnistCNNConfig = MnistCNNConfig()) -> Model:
    """Make the network: conv 32, conv 64, max pool 2, channel dropout, linear 128, dropout, linear.

    All convolutions have 3 x 3 kernels without padding and are followed by ReLU.

    Args:
        config: the settings.

    Returns:
        A model from images `[batch, height, width, channels]` to logits `[batch, classes]`; it needs a key in training.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax.numpy as jnp
        >>> model = mnist_cnn()
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((2, 28, 28, 1)), train=False)[0].shape
        (2, 10)
    """
    return build_model(config, MnistCNNConfig, _spec, _apply)
