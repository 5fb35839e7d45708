"""Transposed convolution: the map from outputs to inputs that belongs to a convolution."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from jaxnets.layer import layer, names_errors
from jaxnets.nn.convolve import (
    check_arrays,
    check_groups,
    convolve_and_add_bias,
    kernel_and_bias_spec,
    merge_groups,
)
from jaxnets.nn.initializers import InLayout
from jaxnets.nn.window import (
    Geometry,
    PerAxis,
    check_window,
    per_axis,
    resolve_padding,
    span,
    transposed_kernel,
    window_size,
)
from jaxnets.spec import Spec
from jaxnets.types import Array, Initializer, Padding, Params


@names_errors
def conv_transpose_spec(
    in_channels: int,
    out_channels: int,
    kernel_size: Sequence[int],
    *,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `conv_transpose`.

    Args:
        in_channels: size of the input's last axis.
        out_channels: size of the result's last axis.
        kernel_size: the kernel's size on each spatial axis; its length says whether it is 1-D, 2-D or 3-D.
        bias: whether there is a bias.
        kernel_init: initializes the kernel, as `[*kernel_size, in_channels, out_channels]`; by default normal, of
            variance 1/(kernel_size * in_channels).
        bias_init: initializes the bias; by default zeros.

    Returns:
        A spec with `kernel` `[*kernel_size, out_channels, in_channels]` (that of the convolution from the result's
        channels to the input's) and, if `bias`, `bias` `[out_channels]`.

    Raises:
        TypeError: if `kernel_size` is an int.

    Example:
        >>> conv_transpose_spec(64, 32, (4, 4))["kernel"].shape
        (4, 4, 32, 64)

    Warning:
        PyTorch's fan-in of a transposed convolution is kernel_size * out_channels; `torch_defaults` uses that.
    """
    kernel_size = check_window(kernel_size, name="kernel_size")
    drawn, rank = (*kernel_size, in_channels, out_channels), len(kernel_size)
    return kernel_and_bias_spec(
        (*kernel_size, out_channels, in_channels),
        (*(None for _ in kernel_size), "out", "in"),
        "matrix",
        out_channels,
        bias=bias,
        kernel_init=InLayout(kernel_init, drawn, drawn, (*range(rank), rank + 1, rank)),
        bias_init=bias_init,
        torch_fan_in=window_size(kernel_size) * out_channels,
    )


@layer
def conv_transpose(
    params: Params,
    x: Array,
    *,
    stride: PerAxis = 1,
    padding: Padding = "SAME",
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
) -> Array:
    """Convolve backwards: $y[stride i + dilation w - padding, o] += x[i, c] kernel[w, o, c]$ over all i, w, c.

    It is the gradient of `conv` with the same kernel, stride, padding and dilation with respect to its input, and so
    enlarges where that shrinks.

    Args:
        params: `kernel` `[*kernel_size, out_channels, in_channels]` and, if there is one, `bias` `[out_channels]`.
        x: `[..., *spatial, in_channels]`, floating point, with any number of leading axes.
        stride: by how much it enlarges, an int or one for each spatial axis.
        padding: what is cut off the full result, of (size - 1) stride + dilation (width - 1) + 1 entries. `"SAME"`:
            so much that size * stride remain, the inverse of `conv` with `"SAME"` (where the kernel is smaller than the
            stride, the rest is zeros); `"VALID"`: nothing; an int for all sides; or for each spatial axis an int or a
            pair (before, after).
        output_padding: entries more after the end, an int or one for each spatial axis; only with explicit padding or
            `"VALID"`. With a stride, convolutions of several sizes give the same one; this chooses among them.
        dilation: step between the taps of the kernel, an int or one for each spatial axis.

    Returns:
        `[..., *sizes, out_channels]`, on each spatial axis size * stride with `"SAME"`, else
        (size - 1) stride - before - after + dilation (width - 1) + 1 + output_padding.

    Raises:
        ValueError: if `x` does not fit the kernel, nothing remains of the result, or a setting makes no sense.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([1.0, 2.0]).reshape(1, 2, 1)
        >>> conv_transpose({"kernel": jnp.ones((2, 1, 1))}, x, stride=2).ravel()
        Array([1., 1., 2., 2.], dtype=float32)

    Reference:
        Dumoulin, Visin: A guide to convolution arithmetic for deep learning, 2016.

    Warning:
        Explicit `padding` and `output_padding` are PyTorch's, whose weight is `[in, out, *kernel_size]`, the transpose
        of the kernel here. Flax and `jax.lax.conv_transpose` by default do not flip the kernel: `transpose_kernel=True`
        is this function, up to explicit padding, which is there that of the dilated input, and up to `"VALID"`, which
        there gives size * stride entries at least.
    """
    return _transposed_layer(params, params["kernel"], x, 1, stride, padding, output_padding, dilation)


@names_errors
def grouped_conv_transpose_spec(
    in_channels: int,
    out_channels: int,
    kernel_size: Sequence[int],
    *,
    groups: int,
    bias: bool = True,
    kernel_init: Initializer = jax.nn.initializers.lecun_normal(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Spec:
    """Describe the parameters of `grouped_conv_transpose`.

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
        A spec with `kernel` `[*kernel_size, groups, out_channels / groups, in_channels / groups]` and, if `bias`,
        `bias` `[out_channels]`.

    Raises:
        TypeError: if `kernel_size` is an int.
        ValueError: if `groups` does not divide both numbers of channels.

    Example:
        >>> grouped_conv_transpose_spec(64, 32, (4, 4), groups=4)["kernel"].shape
        (4, 4, 4, 8, 16)
    """
    kernel_size = check_window(kernel_size, name="kernel_size")
    check_groups(in_channels, out_channels, groups)
    drawn, rank = (*kernel_size, in_channels // groups, out_channels), len(kernel_size)
    cut, order = (*drawn[:-1], groups, out_channels // groups), (*range(rank), rank + 1, rank + 2, rank)
    return kernel_and_bias_spec(
        (*kernel_size, groups, out_channels // groups, in_channels // groups),
        (*(None for _ in kernel_size), "groups", "out", "in"),
        "groups",
        out_channels,
        bias=bias,
        kernel_init=InLayout(kernel_init, drawn, cut, order),
        bias_init=bias_init,
        torch_fan_in=window_size(kernel_size) * out_channels // groups,
    )


@layer
def grouped_conv_transpose(
    params: Params,
    x: Array,
    *,
    stride: PerAxis = 1,
    padding: Padding = "SAME",
    output_padding: PerAxis = 0,
    dilation: PerAxis = 1,
) -> Array:
    """Convolve each group of channels backwards, with a kernel of its own.

    Args:
        params: `kernel` `[*kernel_size, groups, out_channels / groups, in_channels / groups]` and, if there is one,
            `bias` `[out_channels]`.
        x: `[..., *spatial, in_channels]`, floating point.
        stride: as in `conv_transpose`.
        padding: as in `conv_transpose`.
        output_padding: as in `conv_transpose`.
        dilation: as in `conv_transpose`.

    Returns:
        `[..., *sizes, out_channels]`, sizes as in `conv_transpose`.

    Raises:
        ValueError: if `x` does not fit the kernel, nothing remains of the result, or a setting makes no sense.
        TypeError: if `x` is not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> kernel = jnp.array([10.0, 1.0]).reshape(1, 2, 1, 1)
        >>> grouped_conv_transpose({"kernel": kernel}, jnp.ones((1, 1, 2))).ravel()
        Array([10.,  1.], dtype=float32)

    Warning:
        Channels are ordered as in PyTorch, whose weight is `[in, out / groups, *kernel_size]`: the group is there a
        part of the first axis.
    """
    kernel = params["kernel"]
    if kernel.ndim < 4:
        raise ValueError(f"kernel must be [*kernel_size, groups, out, in], got {list(kernel.shape)}")
    groups = kernel.shape[-3]
    return _transposed_layer(params, merge_groups(kernel), x, groups, stride, padding, output_padding, dilation)


def _transposed_layer(
    params: Params,
    kernel: Array,
    x: Array,
    groups: int,
    stride: PerAxis,
    padding: Padding,
    output_padding: PerAxis,
    dilation: PerAxis,
) -> Array:
    """Check the arguments, convolve x, dilated by the stride, with the flipped kernel, and add the bias.

    The kernel is `[*kernel_size, out / groups, in]`, that of the convolution of which this is the transpose.
    """
    kernel_size = check_arrays(params, kernel, x, kernel.shape[-1])
    rank, sizes = len(kernel_size), x.shape[-len(kernel_size) - 1 : -1]
    steps = per_axis("stride", stride, rank, minimum=1)
    gaps = per_axis("dilation", dilation, rank, minimum=1)
    extra = per_axis("output_padding", output_padding, rank, minimum=0)
    enlarged, sides = _output_sizes_and_padding(sizes, kernel_size, steps, padding, extra, gaps)
    convolution = Geometry(steps, sides, gaps, input_dilation=(1,) * rank, groups=groups)
    geometry = convolution.transposed(enlarged, kernel_size)
    return convolve_and_add_bias(params, transposed_kernel(kernel, groups), x, geometry)


def _output_sizes_and_padding(
    sizes: tuple[int, ...],
    kernel_size: tuple[int, ...],
    steps: tuple[int, ...],
    padding: Padding,
    extra: tuple[int, ...],
    gaps: tuple[int, ...],
) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...]]:
    """Sizes of the result, and the padding with which a convolution of it has the sizes of x; or raise ValueError."""
    if 0 in sizes:
        raise ValueError(f"x has an empty spatial axis, spatial sizes are {list(sizes)}")
    if any(more >= max(step, gap) for more, step, gap in zip(extra, steps, gaps, strict=True) if more):
        raise ValueError(
            f"output_padding must be smaller than stride or dilation, got output_padding {extra} with "
            f"stride {steps} and dilation {gaps}"
        )
    if padding == "SAME":
        if any(extra):
            raise ValueError(
                f'"SAME" fixes the size of the result, output_padding must be 0, got {extra}; '
                "give the padding explicitly"
            )
        enlarged = tuple(size * step for size, step in zip(sizes, steps, strict=True))
        return enlarged, resolve_padding("SAME", enlarged, kernel_size, steps, gaps)
    sides = resolve_padding(padding, sizes, kernel_size, steps, gaps)
    settings = zip(sizes, kernel_size, steps, sides, extra, gaps, strict=True)
    enlarged = tuple(
        (size - 1) * step - sum(side) + span(width, gap) + more for size, width, step, side, more, gap in settings
    )
    if min(enlarged) < 1:
        raise ValueError(
            f"padding {sides} leaves nothing of the result, whose spatial sizes would be {enlarged}; use less padding"
        )
    # cropping the extra entries makes the convolution's output exactly as large as x
    cropped = tuple((before, after - more) for (before, after), more in zip(sides, extra, strict=True))
    return enlarged, cropped
