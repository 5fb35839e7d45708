"""A convolution and batch norm, the unit of which most convolutional networks are built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxnets.layer import layer
from jaxnets.nn.batch_norm import batch_norm, batch_norm_spec
from jaxnets.nn.convolution import conv, conv_spec
from jaxnets.nn.window import PerAxis
from jaxnets.spec import Spec
from jaxnets.types import Array, Initializer, Padding, Params, State


def conv_norm_spec(
    in_channels: int,
    out_channels: int,
    kernel_size: Sequence[int],
    *,
    convolution_spec: Callable[..., Spec] = conv_spec,
    kernel_init: Initializer = jax.nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
) -> Spec:
    """Describe the parameters and the state of `conv_norm`.

    Args:
        in_channels: size of the input's last axis.
        out_channels: size of the result's last axis.
        kernel_size: the kernel's size on each spatial axis.
        convolution_spec: describes the convolution when called as `conv_spec` is; by default that one.
        kernel_init: initializes the kernel; by default normal, of variance 2 / fan_out.

    Returns:
        A spec with `conv`, which has no bias, because the norm subtracts it again, and `norm`.

    Example:
        >>> conv_norm_spec(16, 32, (3, 3))["conv"]["kernel"].shape
        (3, 3, 16, 32)
    """
    return {
        "conv": convolution_spec(in_channels, out_channels, kernel_size, bias=False, kernel_init=kernel_init),
        "norm": batch_norm_spec(out_channels),
    }


@layer
def conv_norm(
    params: Params,
    state: State,
    x: Array,
    *,
    train: bool,
    convolution: Callable[..., Array] = conv,
    stride: PerAxis = 1,
    padding: Padding = "SAME",
    activation: Callable[[Array], Array] | None = None,
    **norm: Any,
) -> tuple[Array, State]:
    """Convolve, normalize by batch norm, and apply an activation: $y = f(norm(conv(x)))$.

    Args:
        params: `conv` and `norm`, the parameters of the two.
        state: `norm`, the running statistics.
        x: `[..., *spatial, in_channels]`, floating point.
        train: whether the norm uses the batch and updates the state.
        convolution: `conv`, or `depthwise_conv` or `grouped_conv` if the spec was made with theirs.
        stride: of the convolution.
        padding: of the convolution.
        activation: f; None for the identity.
        **norm: settings of `batch_norm`: `momentum`, `epsilon`, `axis_name`, ...

    Returns:
        `(y, new_state)`: `[..., *positions, out_channels]`, and the new state.

    Raises:
        ValueError: if `x` does not fit the kernel, or a setting makes no sense.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxnets import init
        >>> params, state = init(conv_norm_spec(1, 4, (3, 3)), jax.random.key(0))
        >>> y, state = conv_norm(params, state, jnp.ones((2, 8, 8, 1)), train=True, activation=jax.nn.relu)
        >>> y.shape, int(state["norm"]["count"])
        ((2, 8, 8, 4), 1)

    Reference:
        Ioffe, Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift,
        2015, section 3.2.
    """
    x = convolution(params["conv"], x, stride=stride, padding=padding)
    x, new_norm = batch_norm(params["norm"], state["norm"], x, train=train, **norm)
    return x if activation is None else activation(x), {"norm": new_norm}
