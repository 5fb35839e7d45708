"""The residual block of diffusion networks, which a condition, such as the time, reaches in the middle."""

from __future__ import annotations

import jax

from jaxnets.layer import layer
from jaxnets.nn.check import broadcast_parameter, check_features, check_floating
from jaxnets.nn.convolution import conv, conv_spec
from jaxnets.nn.dropout import dropout
from jaxnets.nn.film import film, film_spec
from jaxnets.nn.linear import linear, linear_spec
from jaxnets.nn.normalization import group_norm, group_norm_spec
from jaxnets.random import subkey
from jaxnets.spec import Spec
from jaxnets.types import Array, Key, Params


def conditioned_block_spec(
    in_channels: int, channels: int, condition_features: int, *, scaled: bool = False, zero_last: bool = True
) -> Spec:
    """Describe the parameters of `conditioned_block`.

    Args:
        in_channels: size of the input's last axis.
        channels: size of the result's last axis.
        condition_features: size of the condition's last axis.
        scaled: whether the condition scales and shifts the channels, as in `film`, or is only added to them.
        zero_last: whether the second convolution is initialized as zeros, so that the block at first adds nothing.

    Returns:
        A spec with `norm1`, `conv1`, `film` or `shift`, `norm2`, `conv2` and, if the channels differ, `shortcut`.

    Example:
        >>> sorted(conditioned_block_spec(16, 32, 64))
        ['conv1', 'conv2', 'norm1', 'norm2', 'shift', 'shortcut']
    """
    last = jax.nn.initializers.zeros if zero_last else jax.nn.initializers.lecun_normal()
    return {
        "norm1": group_norm_spec(in_channels),
        "conv1": conv_spec(in_channels, channels, (3, 3)),
        **(
            {"film": film_spec(condition_features, channels)}
            if scaled
            else {"shift": linear_spec(condition_features, channels)}
        ),
        "norm2": group_norm_spec(channels),
        "conv2": conv_spec(channels, channels, (3, 3), kernel_init=last),
        **({"shortcut": conv_spec(in_channels, channels, (1, 1))} if in_channels != channels else {}),
    }


@layer
def conditioned_block(
    params: Params,
    x: Array,
    condition: Array,
    *,
    groups: int,
    epsilon: float = 1e-5,
    dropout_rate: float | Array = 0.0,
    key: Key | None = None,
    train: bool,
) -> Array:
    """Add two 3 x 3 convolutions to a shortcut; between them comes the condition c.

    $h = conv1(silu(norm1(x)))$, then $y = shortcut(x) + conv2(dropout(silu(norm2(h + W silu(c) + b))))$. If the
    condition also scales, $norm2(h) (1 + W_s silu(c) + b_s) + W_t silu(c) + b_t$ takes the place of
    $norm2(h + W silu(c) + b)$.

    Args:
        params: as `conditioned_block_spec` describes them; `film` or `shift` says how the condition acts.
        x: `[batch, height, width, in_channels]`, floating point.
        condition: c, `[batch, condition_features]`, floating point.
        groups: of both group norms, a divisor of both numbers of channels.
        epsilon: of the norms.
        dropout_rate: the probability to drop an entry before the second convolution, in training.
        key: for dropout.
        train: whether dropout drops.

    Returns:
        `[batch, height, width, channels]`, in the dtype of `x`.

    Raises:
        ValueError: if shapes do not fit, or a key is missing.
        TypeError: if `x` or the condition is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import init
        >>> params, _ = init(conditioned_block_spec(4, 4, 6), jax.random.key(0))
        >>> x = jax.random.normal(jax.random.key(1), (2, 8, 8, 4))
        >>> bool(jnp.all(conditioned_block(params, x, jnp.ones((2, 6)), groups=2, train=False) == x))
        True

    Reference:
        Ho, Jain, Abbeel, Denoising diffusion probabilistic models, 2020; with scales: Dhariwal, Nichol, Diffusion
        models beat GANs on image synthesis, 2021.

    Warning:
        The program of Ho et al. has epsilon 1e-6, most others 1e-5. PyTorch programs often do not initialize the second
        convolution as zeros, Ho et al. do.
    """
    check_floating(condition, name="condition")
    if x.ndim != 4 or condition.ndim != 2 or condition.shape[0] != x.shape[0]:
        raise ValueError(
            "x must be [batch, height, width, channels] and condition [batch, condition_features], got "
            f"{list(x.shape)} and {list(condition.shape)}"
        )
    check_features(x, params["conv1"]["kernel"].shape[-2], params["conv1"]["kernel"])
    condition = jax.nn.silu(condition.astype(x.dtype))
    h = conv(params["conv1"], jax.nn.silu(group_norm(params["norm1"], x, groups=groups, epsilon=epsilon)))
    if "film" in params:
        h = film(params["film"], group_norm(params["norm2"], h, groups=groups, epsilon=epsilon), condition)
    else:
        shift = linear(params["shift"], condition)[:, None, None, :]
        h = h + broadcast_parameter(shift, h.shape, h.dtype)
        h = group_norm(params["norm2"], h, groups=groups, epsilon=epsilon)
    h = dropout(jax.nn.silu(h), dropout_rate, key=subkey(key, "dropout"), train=train)
    return (conv(params["shortcut"], x) if "shortcut" in params else x) + conv(params["conv2"], h)
