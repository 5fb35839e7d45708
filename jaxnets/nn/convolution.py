"""Convolution in one, two or three dimensions: dense, grouped and depthwise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from jaxnets.kernels.convolution import convolve_on_cpu, is_fast_on_cpu
from jaxnets.layer import layer, names_errors
from jaxnets.nn.check import add_parameter, check_features, check_floating, flatten_leading, match_dtype
from jaxnets.nn.initializers import InLayout, torch_uniform
from jaxnets.nn.window import (
    Geometry,
    PerAxis,
    check_spatial,
    check_window,
    per_axis,
    resolve_padding,
    span,
    window_size,
)
from jaxnets.spec import ArraySpec, Spec, TorchLayout
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
    """Convolve: y[i, o] = sum over tap w and channel c of x[stride i + dilation w - padding, c] kernel[w, c, o] + b.

    The kernel is not flipped (mathematics calls this correlation), as in all deep-learning libraries.

    Args:
        params: `kernel` `[*kernel_size, in_channels, out_channels]` and, if there is one, `bias` `[out_channels]`.
        x: `[..., *spatial, in_channels]`, floating point, with as many spatial axes as the kernel and any number of
            leading axes. Its dtype is the result's; parameters are cast to it.
        stride: step from one position of the kernel to the next, an int or one for each spatial axis.
        padding: zeros around `x`. `"SAME"`: as many as make ceil(size / stride) positions, the odd one after;
            `"VALID"`: none; `"CAUSAL"`: dilation (width - 1) before, so that a position sees nothing behind it; an int
            for all sides; or for each spatial axis an int or a pair (before, after).
        dilation: step between the taps of the kernel, an int or one for each spatial axis.

    Returns:
        `[..., *positions, out_channels]`, with (size + padding - dilation (width - 1) - 1) // stride + 1 positions on
        each spatial axis.

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

    Input and output channels are cut into groups of neighbours; group g of the result sees group g of the input alone.

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
    """Convolve each channel by itself: output channel c * multiplier + m is channel c convolved with kernel[..., c, m].

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


def convolution_layer(
    params: Params,
    kernel: Array,
    x: Array,
    groups: int,
    stride: PerAxis,
    padding: Padding,
    dilation: PerAxis,
) -> Array:
    """Check the arguments, convolve with the kernel `[*kernel_size, in / groups, out]` and add the bias."""
    kernel_size = check_arrays(params, kernel, x, groups * kernel.shape[-2])
    rank, sizes = len(kernel_size), x.shape[-len(kernel_size) - 1 : -1]
    steps = per_axis("stride", stride, rank, minimum=1)
    gaps = per_axis("dilation", dilation, rank, minimum=1)
    if padding == "CAUSAL":
        padding = [(span(width, gap) - 1, 0) for width, gap in zip(kernel_size, gaps, strict=True)]
    sides = resolve_padding(padding, sizes, kernel_size, steps, gaps)
    geometry = Geometry(steps, sides, gaps, input_dilation=(1,) * rank, groups=groups)
    geometry.output_sizes(sizes, kernel_size)  # raises if the kernel does not fit
    return convolve_and_add_bias(params, kernel, x, geometry)


def check_arrays(params: Params, kernel: Array, x: Array, channels: int) -> tuple[int, ...]:
    """Return the size of the kernel `[*kernel_size, ..., ...]`; raise unless `x` fits it and has these channels."""
    kernel_size = kernel.shape[:-2]
    if not 1 <= len(kernel_size) <= 3:
        raise ValueError(
            f"kernel must have one to three spatial axes before its channels, got {list(params['kernel'].shape)}"
        )
    check_floating(x)
    check_spatial(x, len(kernel_size), f"the kernel {list(params['kernel'].shape)}")
    check_features(x, channels, params["kernel"], spatial=len(kernel_size))
    return kernel_size


def convolve_and_add_bias(params: Params, kernel: Array, x: Array, geometry: Geometry) -> Array:
    """Convolve `[..., *spatial, in]` with `[*kernel_size, in / groups, out]` and add the bias, if there is one."""
    (kernel,) = match_dtype(x, kernel)
    rows, leading = flatten_leading(x, kernel.ndim - 1)
    y = convolve(rows, kernel, geometry)
    if "bias" in params:  # over one leading axis, which has the fastest backward pass
        y = add_parameter(y.reshape((math.prod(y.shape[:-1]), y.shape[-1])), params["bias"]).reshape(y.shape)
    return y.reshape((*leading, *y.shape[1:]))


def convolve(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve: all that the layers of this file and transposed convolution compute.

    Args:
        x: `[batch, *spatial, in]`.
        kernel: `[*kernel_size, in / groups, out]`, of the same dtype. Output channels are ordered by group.
        geometry: see `Geometry`.

    Returns:
        `[batch, *positions, out]`.

    Example:
        >>> import jax.numpy as jnp
        >>> x, kernel = jnp.arange(4.0).reshape(1, 4, 1), jnp.ones((2, 1, 1))
        >>> convolve(x, kernel, Geometry((1,), ((0, 0),), (1,), (1,))).ravel()
        Array([1., 3., 5.], dtype=float32)
    """
    if is_fast_on_cpu(x, kernel):
        y: Array = convolve_on_cpu(x, kernel, geometry)  # the same function
        return y
    axes = "DHW"[-len(geometry.stride) :]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=geometry.stride,
        padding=geometry.padding,
        lhs_dilation=geometry.input_dilation,
        rhs_dilation=geometry.dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=geometry.groups,
    )


def kernel_and_bias_spec(
    shape: tuple[int, ...],
    axes: tuple[str | None, ...],
    torch_layout: TorchLayout,
    out_channels: int,
    *,
    bias: bool,
    kernel_init: Initializer,
    bias_init: Initializer,
    torch_fan_in: int,
) -> Spec:
    """Describe `kernel` and, if `bias`, `bias` `[out_channels]`, with PyTorch's initial values for that fan-in."""
    torch_init = torch_uniform(torch_fan_in)
    kernel = ArraySpec(shape, kernel_init, axes=axes, torch_initializer=torch_init, torch_layout=torch_layout)
    if not bias:
        return {"kernel": kernel}
    return {
        "kernel": kernel,
        "bias": ArraySpec((out_channels,), bias_init, axes=("out",), torch_initializer=torch_init),
    }


def check_groups(in_channels: int, out_channels: int, groups: int) -> None:
    """Raise ValueError unless `groups` is positive and divides both numbers of channels."""
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ValueError(
            f"groups must be positive and divide in_channels and out_channels, got groups {groups} for "
            f"{in_channels} and {out_channels} channels"
        )


def merge_groups(kernel: Array) -> Array:
    """Reshape `[*kernel_size, groups, in, out]` to `[*kernel_size, in, groups * out]`, the layout of `convolve`."""
    *kernel_size, groups, fan_in, out = kernel.shape
    return jnp.swapaxes(kernel, -3, -2).reshape(*kernel_size, fan_in, groups * out)
