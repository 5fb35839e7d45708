"""A small convolutional network with batch normalization, for images of a few pixels."""

from __future__ import annotations

import jax

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


def small_cnn_spec(height: int, width: int, channels: int, classes: int) -> Spec:
    """Describe the parameters and the state of `small_cnn` for images of a given size.

    Example:
        >>> small_cnn_spec(8, 8, 1, 10)["fc1"]["kernel"].shape
        (1024, 128)
    """
    return {
        "conv1": nn.conv_spec(channels, 32, (3, 3)),
        "bn1": nn.batch_norm_spec(32),
        "conv2": nn.conv_spec(32, 64, (3, 3)),
        "bn2": nn.batch_norm_spec(64),
        "fc1": nn.linear_spec((height // 2) * (width // 2) * 64, 128),
        "fc2": nn.linear_spec(128, classes),
    }


def small_cnn_apply(
    params: Params, state: State, x: Array, *, key: Key | None = None, train: bool
) -> tuple[Array, State]:
    """Two convolutions with batch norm, max pooling, channel dropout, two linear layers.

    Args:
        params: as `small_cnn_spec` describes them.
        state: the running statistics of `bn1` and `bn2`.
        x: `[batch, height, width, channels]`.
        key: for the two dropouts in training.
        train: whether dropout drops and batch norm uses the batch.

    Returns:
        Logits `[batch, classes]`, and the new state.

    Example:
        >>> import jax.numpy as jnp
        >>> model = small_cnn(8, 8, 1, 10)
        >>> logits, _ = model.apply(*model.init(jax.random.key(0)), jnp.ones((2, 8, 8, 1)), train=False)
        >>> logits.shape
        (2, 10)
    """
    x = nn.conv(params["conv1"], x)
    x, bn1 = nn.batch_norm(params["bn1"], state["bn1"], x, train=train)
    x = nn.conv(params["conv2"], jax.nn.relu(x))
    x, bn2 = nn.batch_norm(params["bn2"], state["bn2"], x, train=train)
    x = nn.max_pool(jax.nn.relu(x), (2, 2))
    x = nn.spatial_dropout(x, 0.25, key=subkey(key, "dropout1"), train=train)
    x = jax.nn.relu(nn.linear(params["fc1"], x.reshape((x.shape[0], -1))))
    x = nn.dropout(x, 0.5, key=subkey(key, "dropout2"), train=train)
    return nn.linear(params["fc2"], x), {"bn1": bn1, "bn2": bn2}


def small_cnn(height: int, width: int, channels: int, classes: int) -> Model:
    """Make the network: conv 32, conv 64, each with batch norm and ReLU; max pool 2; linear 128; linear.

    The convolutions have 3 x 3 windows and keep the image's size; a quarter of the channels and half of the hidden
    units are dropped in training.

    Args:
        height: of the images, in pixels.
        width: of the images, in pixels.
        channels: of the images.
        classes: how many logits it returns.

    Returns:
        The model; see `small_cnn_apply`.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(small_cnn_spec(8, 8, 1, 10))
        151498
    """
    return make_model(small_cnn_spec(height, width, channels, classes), small_cnn_apply)
