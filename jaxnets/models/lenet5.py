"""LeNet-5, the convolutional network that read cheques."""

from __future__ import annotations

from collections.abc import Callable

import jax

from jaxnets import nn
from jaxnets.model import Model, make_model
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params, State


def lenet5_spec(height: int = 28, width: int = 28, channels: int = 1, classes: int = 10) -> Spec:
    """Describe the parameters of `lenet5` for images of a given size.

    Example:
        >>> lenet5_spec()["fc1"]["kernel"].shape
        (400, 120)
    """
    features = (height // 2 - 4) // 2 * ((width // 2 - 4) // 2) * 16
    return {
        "conv1": nn.conv_spec(channels, 6, (5, 5)),
        "conv2": nn.conv_spec(6, 16, (5, 5)),
        "fc1": nn.linear_spec(features, 120),
        "fc2": nn.linear_spec(120, 84),
        "fc3": nn.linear_spec(84, classes),
    }


def lenet5_apply(
    params: Params,
    state: State,
    x: Array,
    *,
    key: Key | None = None,
    train: bool,
    activation: Callable[[Array], Array] = jax.nn.tanh,
    pool: Callable[..., Array] = nn.avg_pool,
) -> tuple[Array, State]:
    """Two convolutions, each with an activation and pooling, and three linear layers.

    Args:
        params: as `lenet5_spec` describes them.
        state: `{}`.
        x: `[batch, height, width, channels]`.
        key: not used.
        train: not used; the network does the same in training.
        activation: after each layer but the last.
        pool: `nn.avg_pool` or `nn.max_pool`.

    Returns:
        Logits `[batch, classes]`, and the state.

    Example:
        >>> import jax.numpy as jnp
        >>> model = lenet5()
        >>> logits, _ = model.apply(*model.init(jax.random.key(0)), jnp.ones((2, 28, 28, 1)), train=False)
        >>> logits.shape
        (2, 10)
    """
    x = pool(activation(nn.conv(params["conv1"], x, padding=2)), (2, 2))
    x = pool(activation(nn.conv(params["conv2"], x, padding="VALID")), (2, 2))
    x = activation(nn.linear(params["fc1"], x.reshape((x.shape[0], -1))))
    x = activation(nn.linear(params["fc2"], x))
    return nn.linear(params["fc3"], x), state


def lenet5(
    height: int = 28,
    width: int = 28,
    channels: int = 1,
    classes: int = 10,
    *,
    activation: Callable[[Array], Array] = jax.nn.tanh,
    pool: Callable[..., Array] = nn.avg_pool,
) -> Model:
    """Make the network: conv 6 and conv 16 of 5 x 5, each followed by 2 x 2 pooling; linear 120, 84 and `classes`.

    For 28 x 28 x 1 images and 10 classes it has 61,706 parameters.

    Args:
        height: of the images, in pixels.
        width: of the images, in pixels.
        channels: of the images.
        classes: how many logits it returns.
        activation: after each layer but the last; `jax.nn.relu` is the usual one today.
        pool: `nn.avg_pool` or `nn.max_pool`.

    Returns:
        The model; see `lenet5_apply`.

    Example:
        >>> from jaxnets import count_parameters
        >>> count_parameters(lenet5_spec())
        61706

    Reference:
        LeCun, Bottou, Bengio, Haffner: Gradient-Based Learning Applied to Document Recognition, 1998.

    Warning:
        As everywhere today, each map of the second convolution sees all six maps (in the paper a table chooses some),
        pooling has no parameters, and the last layer is linear instead of distances to drawn letters. The paper pads
        28 x 28 images to 32 x 32; the padding of the first convolution does the same.
    """

    def apply(params: Params, state: State, x: Array, *, key: Key | None = None, train: bool) -> tuple[Array, State]:
        return lenet5_apply(params, state, x, key=key, train=train, activation=activation, pool=pool)

    return make_model(lenet5_spec(height, width, channels, classes), apply)
