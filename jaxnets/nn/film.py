"""Feature-wise linear modulation: a condition scales and shifts every channel."""

from __future__ import annotations

import jax

from jaxnets.layer import layer
from jaxnets.nn.check import check_floating
from jaxnets.nn.linear import linear, linear_spec
from jaxnets.spec import Spec
from jaxnets.types import Array, Initializer, Params


def film_spec(
    condition_features: int, channels: int, *, kernel_init: Initializer = jax.nn.initializers.lecun_normal()
) -> Spec:
    """Describe the parameters of `film`.

    Args:
        condition_features: size of the condition's last axis.
        channels: size of the input's last axis.
        kernel_init: initializes both kernels; with `jax.nn.initializers.zeros` the layer at first changes nothing.

    Returns:
        A spec with the linear layers `scale` and `shift`.

    Example:
        >>> film_spec(8, 3)["scale"]["kernel"].shape
        (8, 3)
    """
    return {name: linear_spec(condition_features, channels, kernel_init=kernel_init) for name in ("scale", "shift")}


@layer
def film(params: Params, x: Array, condition: Array) -> Array:
    """Scale and shift each channel by what a condition says: $y = x (1 + W_s c + b_s) + W_t c + b_t$.

    Args:
        params: `scale` and `shift`, as `film_spec` describes them.
        x: `[batch, ..., channels]`, floating point.
        condition: c, `[batch, condition_features]`.

    Returns:
        `[batch, ..., channels]`, in the dtype of `x`.

    Raises:
        ValueError: if shapes do not fit.
        TypeError: if `x` or the condition are not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import init
        >>> params, _ = init(film_spec(8, 3, kernel_init=jax.nn.initializers.zeros), jax.random.key(0))
        >>> x = jnp.ones((2, 4, 4, 3))
        >>> bool(jnp.all(film(params, x, jnp.ones((2, 8))) == x))
        True

    Reference:
        Perez et al., FiLM: visual reasoning with a general conditioning layer, 2018.

    Warning:
        The paper's factor is W_s c + b_s alone, and 1 is learned; most programs, as this one, add the 1.
    """
    check_floating(x)
    check_floating(condition, name="condition")
    if x.ndim < 2 or condition.ndim != 2 or x.shape[0] != condition.shape[0]:
        raise ValueError(
            "x must be [batch, ..., channels] and condition [batch, condition_features], got "
            f"{list(x.shape)} and {list(condition.shape)}"
        )
    channels = params["scale"]["kernel"].shape[-1]
    if x.shape[-1] != channels:
        raise ValueError(f"last axis of x must be {channels}, got {list(x.shape)}")
    condition = condition.astype(x.dtype)
    shape = (x.shape[0], *(1,) * (x.ndim - 2), channels)
    scale, shift = (linear(params[name], condition).reshape(shape) for name in ("scale", "shift"))
    return x * (1 + scale) + shift
