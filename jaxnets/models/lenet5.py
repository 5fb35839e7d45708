"""LeNet-5, the convolutional network that read cheques."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from jaxnets import nn
from jaxnets.combinators import flatten
from jaxnets.config import ACTIVATIONS, Activation, ModelConfig, PositiveInt, build_model, one_of
from jaxnets.model import Model
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State

_POOLS = {"avg": nn.avg_pool, "max": nn.max_pool}


@dataclasses.dataclass(frozen=True)
class LeNet5Config(ModelConfig):
    """The settings of `lenet5`; by default the paper's. For 28 x 28 x 1 images and 10 classes it has 61,706 parameters.

    Attributes:
        height: of the images, in pixels.
        width: of the images, in pixels.
        channels: of the images.
        classes: how many logits the network returns.
        activation: after each layer but the last; `"relu"` is the usual one today.
        pool: `"avg"` or `"max"`.
    """

    height: PositiveInt = 28
    width: PositiveInt = 28
    channels: PositiveInt = 1
    classes: PositiveInt = 10
    activation: Activation = "tanh"
    pool: Annotated[str, one_of(_POOLS)] = "avg"

    @property
    def pooled(self) -> tuple[int, int, int]:
        """Height, width and channels of what the convolutions return."""
        return (self.height // 2 - 4) // 2, (self.width // 2 - 4) // 2, 16


def _spec(config: LeNet5Config) -> Spec:
    height, width, channels = config.pooled
    return {
        "conv1": nn.conv_spec(config.channels, 6, (5, 5)),
        "conv2": nn.conv_spec(6, channels, (5, 5)),
        "fc1": nn.linear_spec(height * width * channels, 120),
        "fc2": nn.linear_spec(120, 84),
        "fc3": nn.linear_spec(84, config.classes),
    }


def _apply(
    config: LeNet5Config, params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Two convolutions, each with an activation and pooling, and three linear layers."""
    activation, pool = ACTIVATIONS[config.activation], _POOLS[config.pool]
    x = pool(activation(nn.conv(params["conv1"], x, padding=2)), (2, 2))
    x = pool(activation(nn.conv(params["conv2"], x, padding="VALID")), (2, 2))
    x = activation(nn.linear(params["fc1"], flatten(x)))
    x = activation(nn.linear(params["fc2"], x))
    return nn.linear(params["fc3"], x), state


def lenet5(config: LeNet5Config = LeNet5Config()) -> Model:
    """Make the network: conv 6 and conv 16 of 5 x 5, each followed by 2 x 2 pooling; linear 120, 84 and `classes`.

    Args:
        config: the settings.

    Returns:
        A model from images `[batch, height, width, channels]` to logits `[batch, classes]`.

    Raises:
        TypeError: if the config is of another class.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> model = lenet5(LeNet5Config(activation="relu", pool="max"))
        >>> params, state = model.init(jax.random.key(0))
        >>> model.apply(params, state, jnp.ones((2, 28, 28, 1)), train=False)[0].shape
        (2, 10)

    Reference:
        LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, 1998.

    Warning:
        As everywhere today, each map of the second convolution sees all six maps (in the paper a table chooses some),
        pooling has no parameters, and the last layer is linear instead of distances to drawn letters. The paper pads
        28 x 28 images to 32 x 32; the padding of the first convolution does the same.
    """
    return build_model(config, LeNet5Config, _spec, _apply)
