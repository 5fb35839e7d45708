"""What layers of convolution and of transposed convolution share: checks, parameters, and the convolution itself."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxnets.kernels.convolution import convolve_on_cpu, is_fast_on_cpu
from jaxnets.nn.check import add_parameter, check_features, check_floating, flatten_leading, match_dtype
from jaxnets.nn.initializers import torch_uniform
from jaxnets.nn.window import (
    Geometry,
    PerAxis,
    check_spatial,
    per_axis,
    resolve_padding,
    span,
)
from jaxnets.spec import ArraySpec, Spec, TorchLayout
from jaxnets.types import Array, Initializer, Padding, Params


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
    y = add_parameter(y, params["bias"]) if "bias" in params else y
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
    x, geometry = _pad_beyond_kernel(x, kernel.shape[:-2], geometry)
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


def _pad_beyond_kernel(x: Array, kernel_size: tuple[int, ...], geometry: Geometry) -> tuple[Array, Geometry]:
    """Pad or crop x itself where the padding before it is negative or as large as the kernel.

    Convolutions of XLA for CPU read beside their input if the padding before it is negative and that after it is not,
    which is also so in the gradient of a convolution whose padding is as large as its kernel.
    """
    config, padding, input_dilation = [(0, 0, 0)], [], []
    axes = zip(kernel_size, geometry.padding, geometry.dilation, geometry.input_dilation, strict=True)
    for width, (before, after), gap, between in axes:
        if before < 0:
            config.append((before, after, between - 1))
            before, after, between = 0, 0, 1
        else:
            excess = max(0, before - span(width, gap) + 1) if between == 1 else 0
            config.append((excess, 0, 0))
            before -= excess
        padding.append((before, after))
        input_dilation.append(between)
    if not any(map(any, config)):
        return x, geometry
    x = jax.lax.pad(x, jnp.zeros((), x.dtype), [*config, (0, 0, 0)])
    return x, geometry._replace(padding=tuple(padding), input_dilation=tuple(input_dilation))


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
