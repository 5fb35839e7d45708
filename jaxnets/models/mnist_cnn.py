"""The course's convolutional network for small grey images."""

from __future__ import annotations

import jax

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


def mnist_cnn_spec(height: int = 28, width: int = 28, channels: int = 1, classes: int = 10) -> Spec:
    """Describe the parameters of `mnist_cnn` for images of a given size.

    Example:
        >>> mnist_cnn_spec()["fc1"]["kernel"].shape
        (9216, 128)
    """
    features = ((height - 4) // 2) * ((width - 4) // 2) * 64
    return {
        "conv1": nn.conv_spec(channels, 32, (3, 3)),
        "conv2": nn.conv_spec(32, 64, (3, 3)),
        "fc1": nn.linear_spec(features, 128),
        "fc2": nn.linear_spec(128, classes),
    }


def mnist_cnn_apply(
    params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Two convolutions, max pooling, channel dropout, two linear layers.

    Args:
        params: as `mnist_cnn_spec` describes them.
        state: `{}`.
        x: `[batch, height, width, channels]`.
        key: for the two dropouts in training.
        train: whether dropout drops.

    Returns:
        Logits `[batch, classes]`, and the state.

    Example:
        >>> import jax.numpy as jnp
        >>> model = mnist_cnn()
        >>> logits, _ = model.apply(*model.init(jax.random.key(0)), jnp.ones((2, 28, 28, 1)), train=False)
        >>> logits.shape
        (2, 10)
    """
    x = jax.nn.relu(nn.conv(params["conv1"], x, padding="VALID"))
    x = jax.nn.relu(nn.conv(params["conv2"], x, padding="VALID"))
    x = nn.max_pool(x, (2, 2))
    x = nn.spatial_dropout(x, 0.25, key=subkey(key, "dropout1"), train=train)
    x = x.reshape((x.shape[0], -1))
    x = jax.nn.relu(nn.linear(params["fc1"], x))
    x = nn.dropout(x, 0.5, key=subkey(key, "dropout2"), train=train)
    return nn.linear(params["fc2"], x), state


def mnist_cnn(height: int = 28, width: int = 28, channels: int = 1, classes: int = 10) -> Model:
    """Make the network: conv 32, conv 64, max pool 2, channel dropout 0.25, linear 128, dropout 0.5, linear.

    All convolutions have 3 x 3 windows without padding and are followed by ReLU. For 28 x 28 x 1 images and 10
    classes it has 1,199,882 parameters.

    Args:
        height: of the images, in pixels.
        width: of the images, in pixels.
        channels: of the images.
        classes: how many logits it returns.

    Returns:
        The model; see `mnist_cnn_apply`.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(mnist_cnn_spec())
        1199882
    """
    return make_model(mnist_cnn_spec(height, width, channels, classes), mnist_cnn_apply)
