"""Convolution in one, two or three dimensions: dense, grouped and depthwise."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxnets.layer import layer, names_errors
from jaxnets.nn.convolve import check_groups, convolution_layer, kernel_and_bias_spec, merge_groups
from jaxnets.nn.initializers import InLayout
from jaxnets.nn.window import (
    PerAxis,
    check_window,
    window_size,
)
from jaxnets.spec import Spec
from jaxnets.types import Array, Initializer, Padding, Params


@names_errors
def conv_spec(
    in_channels: int,
    out_channels: int,
    kernel_size: Sequence[int],
    *,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `conv`.

    Args:
        in_channels: size of the input's last axis.
        out_channels: size of the result's last axis.
        kernel_size: the kernel's size on each spatial axis; its length says whether the convolution is 1-D, 2-D or 3-D.
        bias: whether there is a bias.
        kernel_init: initializes the kernel; by default normal, of variance 1/(kernel_size * in_channels).
        bias_init: initializes the bias; by default zeros.

    Returns:
        A spec with `kernel` `[*kernel_size, in_channels, out_channels]` and, if `bias`, `bias` `[out_channels]`.

    Raises:
        TypeError: if `kernel_size` is an int.
        ValueError: if `kernel_size` does not hold one to three positive ints.

    Example:
        >>> conv_spec(16, 32, (3, 3))["kernel"].shape
        (3, 3, 16, 32)
    """
    kernel_size = check_window(kernel_size, name="kernel_size")
    axes = (*(None for _ in kernel_size), "in", "out")
    return kernel_and_bias_spec(
        (*kernel_size, in_channels, out_channels),
        axes,
        "matrix",
        out_channels,
        bias=bias,
        kernel_init=kernel_init,
        bias_init=bias_init,
        torch_fan_in=window_size(kernel_size) * in_channels,
    )


@layer
def conv(params: Params, x: Array, *, stride: PerAxis = 1, padding: Padding = "SAME", dilation: PerAxis = 1) -> Array:
    """Convolve: $y[i, o] = sum_(w, c) x[stride i + dilation w - padding, c] kernel[w, c, o] + b[o]$.

    The sum is over the taps w of the kernel and the input channels c. The kernel is not flipped (mathematics calls
    this correlation), as in all deep-learning libraries.

    Args:
        params: `kernel` `[*kernel_size, in_channels, out_channels]` and, if there is one, `bias` `[out_channels]`.
        x: `[..., *spatial, in_channels]`, floating point, with as many spatial axes as the kernel and any number of
            leading axes. Its dtype is the result's; parameters are cast to it.
        stride: step from one position of the kernel to the next, an int or one for each spatial axis.
        padding: zeros around `x`. `"SAME"`: as many as make $ceil(size / stride)$ positions, the odd one after;
            `"VALID"`: none; `"CAUSAL"`: dilation (width - 1) before, so that a position sees nothing behind it; an int
            for all sides; or for each spatial axis an int or a pair (before, after).
        dilation: step between the taps of the kernel, an int or one for each spatial axis.

    Returns:
        `[..., *positions, out_channels]`, with $(size + padding - dilation (width - 1) - 1) // stride + 1$ positions
        on each spatial axis.

    Raises:
        ValueError: if `x` does not fit the kernel or is smaller than it, or a setting makes no sense.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([1.0, 2.0, 3.0]).reshape(1, 3, 1)
        >>> difference = jnp.array([-1.0, 1.0]).reshape(2, 1, 1)
        >>> conv({"kernel": difference}, x, padding="VALID").ravel()
        Array([1., 1.], dtype=float32)

    Reference:
        LeCun et al.: Gradient-Based Learning Applied to Document Recognition, 1998.

    Warning:
        With stride 2, a 3 x 3 kernel and an even size, `"SAME"` pads nothing before and 1 after (as TensorFlow and Flax
        do), PyTorch's `padding=1` 1 on both sides: the results differ. Write `padding=1` for PyTorch's networks.
        PyTorch's weights are `[out, in, *kernel_size]`.
    """
    return convolution_layer(params, params["kernel"], x, 1, stride, padding, dilation)


@names_errors
def grouped_conv_spec(
    in_channels: int,
    out_channels: int,
    kernel_size: Sequence[int],
    *,
    groups: int,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `grouped_conv`.

    Args:
        in_channels: size of the input's last axis, a multiple of `groups`.
        out_channels: size of the result's last axis, a multiple of `groups`.
        kernel_size: the kernel's size on each spatial axis.
        groups: the number of groups.
        bias: whether there is a bias.
        kernel_init: initializes the kernel, as `[*kernel_size, in_channels / groups, out_channels]`; by default normal,
            of variance 1/(kernel_size * in_channels / groups).
        bias_init: initializes the bias; by default zeros.

    Returns:
        A spec with `kernel` `[*kernel_size, groups, in_channels / groups, out_channels / groups]` and, if `bias`,
        `bias` `[out_channels]`.

    Raises:
        TypeError: if `kernel_size` is an int.
        ValueError: if `groups` does not divide both numbers of channels.

    Example:
        >>> grouped_conv_spec(16, 32, (3, 3), groups=4)["kernel"].shape
        (3, 3, 4, 4, 8)
    """
    kernel_size = check_window(kernel_size, name="kernel_size")
    check_groups(in_channels, out_channels, groups)
    axes = (*(None for _ in kernel_size), "groups", "in", "out")
    drawn, rank = (*kernel_size, in_channels // groups, out_channels), len(kernel_size)
    cut, order = (*drawn[:-1], groups, out_channels // groups), (*range(rank), rank + 1, rank, rank + 2)
    return kernel_and_bias_spec(
        (*kernel_size, groups, in_channels // groups, out_channels // groups),
        axes,
        "groups",
        out_channels,
        bias=bias,
        kernel_init=InLayout(kernel_init, drawn, cut, order),
        bias_init=bias_init,
        torch_fan_in=window_size(kernel_size) * in_channels // groups,
    )


@layer
def grouped_conv(
    params: Params, x: Array, *, stride: PerAxis = 1, padding: Padding = "SAME", dilation: PerAxis = 1
) -> Array:
    """Convolve each group of channels with a kernel of its own.

    Input and output channels are cut into groups of neighbors; group g of the result sees group g of the input alone.

    Args:
        params: `kernel` `[*kernel_size, groups, in_channels / groups, out_channels / groups]` and, if there is one,
            `bias` `[out_channels]`.
        x: `[..., *spatial, in_channels]`, floating point.
        stride: as in `conv`.
        padding: as in `conv`.
        dilation: as in `conv`.

    Returns:
        `[..., *positions, out_channels]`.

    Raises:
        ValueError: if `x` does not fit the kernel or is smaller than it, or a setting makes no sense.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> kernel = jnp.array([10.0, 1.0]).reshape(1, 2, 1, 1)
        >>> grouped_conv({"kernel": kernel}, jnp.ones((1, 1, 2))).ravel()
        Array([10.,  1.], dtype=float32)

    Reference:
        Xie et al.: Aggregated Residual Transformations for Deep Neural Networks, 2017.

    Warning:
        Channels are ordered as in PyTorch, whose weight is `[out, in / groups, *kernel_size]`: the group is there a
        part of the first axis.
    """
    kernel = params["kernel"]
    if kernel.ndim < 4:
        raise ValueError(f"kernel must be [*kernel_size, groups, in, out], got {list(kernel.shape)}")
    groups = kernel.shape[-3]
    return convolution_layer(params, merge_groups(kernel), x, groups, stride, padding, dilation)


@names_errors
def depthwise_conv_spec(
    channels: int,
    kernel_size: Sequence[int],
    *,
    multiplier: int = 1,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `depthwise_conv`.

    Args:
        channels: size of the input's last axis.
        kernel_size: the kernel's size on each spatial axis.
        multiplier: how many output channels each input channel has.
        bias: whether there is a bias.
        kernel_init: initializes the kernel, as `[*kernel_size, 1, channels * multiplier]`; by default normal, of
            variance 1/kernel_size.
        bias_init: initializes the bias; by default zeros.

    Returns:
        A spec with `kernel` `[*kernel_size, channels, multiplier]` and, if `bias`, `bias` `[channels * multiplier]`.

    Raises:
        TypeError: if `kernel_size` is an int.

    Example:
        >>> depthwise_conv_spec(16, (3, 3))["kernel"].shape
        (3, 3, 16, 1)
    """
    kernel_size = check_window(kernel_size, name="kernel_size")
    axes = (*(None for _ in kernel_size), "out", None)
    shape, drawn = (*kernel_size, channels, multiplier), (*kernel_size, 1, channels * multiplier)
    return kernel_and_bias_spec(
        shape,
        axes,
        "depthwise",
        channels * multiplier,
        bias=bias,
        kernel_init=InLayout(kernel_init, drawn, shape, tuple(range(len(shape)))),
        bias_init=bias_init,
        torch_fan_in=window_size(kernel_size),
    )


@layer
def depthwise_conv(
    params: Params, x: Array, *, stride: PerAxis = 1, padding: Padding = "SAME", dilation: PerAxis = 1
) -> Array:
    """Convolve each channel by itself: output channel $c multiplier + m$ is channel c by $kernel[..., c, m]$.

    Args:
        params: `kernel` `[*kernel_size, channels, multiplier]` and, if there is one, `bias` `[channels * multiplier]`.
        x: `[..., *spatial, channels]`, floating point.
        stride: as in `conv`.
        padding: as in `conv`.
        dilation: as in `conv`.

    Returns:
        `[..., *positions, channels * multiplier]`.

    Raises:
        ValueError: if `x` does not fit the kernel or is smaller than it, or a setting makes no sense.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> kernel = jnp.array([[10.0, 20.0]]).reshape(1, 1, 2)
        >>> depthwise_conv({"kernel": kernel}, jnp.ones((1, 1, 1))).ravel()
        Array([10., 20.], dtype=float32)

    Reference:
        Chollet: Xception: Deep Learning with Depthwise Separable Convolutions, 2017.

    Warning:
        It is PyTorch's convolution with `groups=channels`, whose weight is `[channels * multiplier, 1, *kernel_size]`.
    """
    kernel = params["kernel"]
    *kernel_size, channels, multiplier = kernel.shape
    merged = jnp.reshape(kernel, (*kernel_size, 1, channels * multiplier))
    return convolution_layer(params, merged, x, channels, stride, padding, dilation)
