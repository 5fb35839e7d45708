"""Squeeze and excitation: channels weighed by what the whole image shows."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxnets.layer import layer
from jaxnets.nn.check import check_features, check_floating
from jaxnets.nn.convolution import conv, conv_spec
from jaxnets.spec import Spec
from jaxnets.types import Array, Params


def squeeze_excitation_spec(channels: int, squeezed: int) -> Spec:
    """Describe the parameters of `squeeze_excitation`.

    Args:
        channels: size of the input's last axis.
        squeezed: how many numbers the image is described by.

    Returns:
        A spec with the 1 x 1 convolutions `squeeze` and `excite`.

    Example:
        >>> squeeze_excitation_spec(32, 8)["squeeze"]["kernel"].shape
        (1, 1, 32, 8)
    """
    return {"squeeze": conv_spec(channels, squeezed, (1, 1)), "excite": conv_spec(squeezed, channels, (1, 1))}


@layer
def squeeze_excitation(params: Params, x: Array, *, activation: Callable[[Array], Array] = jax.nn.relu) -> Array:
    """Multiply each channel by $y = x sigmoid(W2 f(W1 mean(x) + b1) + b2)$, with the mean over height and width.

    Args:
        params: `squeeze` and `excite`.
        x: `[..., height, width, channels]`, floating point.
        activation: f; the paper has ReLU, EfficientNet SiLU.

    Returns:
        `[..., height, width, channels]`.

    Raises:
        ValueError: if the last axis of `x` does not fit.
        TypeError: if `x` is not floating point.

    Example:
        >>> from jaxnets import init
        >>> params, _ = init(squeeze_excitation_spec(4, 2), jax.random.key(0))
        >>> squeeze_excitation(params, jnp.ones((1, 5, 5, 4))).shape
        (1, 5, 5, 4)

    Reference:
        Hu, Shen, Albanie, Sun, Wu: Squeeze-and-Excitation Networks, 2017.
    """
    check_floating(x)
    check_features(x, params["squeeze"]["kernel"].shape[-2], params["squeeze"]["kernel"])
    mean = jnp.mean(x, axis=(-3, -2), keepdims=True)
    return x * jax.nn.sigmoid(conv(params["excite"], activation(conv(params["squeeze"], mean))))
