"""Convolution in the forms that are fastest on CPU.

Outside of loops XLA's CPU backend brings convolutions into the layout of its fast routine; inside `lax.scan` and
`lax.while_loop` it does not (https://github.com/jax-ml/jax/issues/12868), and the kernel gradient that JAX derives
falls to a routine 15 to 100 times slower. So `convolve_on_cpu` is a primitive, whose two gradients are convolutions in
the fast layout, `[batch, *spatial, channels]` and `[*kernel_size, in, out]`. It keeps its two arguments for the
backward pass and nothing else; a derivative that JAX builds from other functions would keep what those compute from
them, such as shifted copies of the input, once for every layer.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxnets.backend import fast_path, types_carry_sharding
from jaxnets.kernels.compiled_convolution import Kind, call_forward, call_kernel_gradient, can_call, use_compiled
from jaxnets.kernels.kernel_gradient import by_lax, is_by_channel, kernel_gradient, patches, repeat_channels
from jaxnets.kernels.onednn import call_onednn, can_call_onednn
from jaxnets.nn.check import compute_dtype
from jaxnets.nn.window import Geometry, pad_spatial, transposed_kernel, window_size, window_slices
from jaxnets.types import Array

_SEPARATE_GROUPS = 8
"""Up to this many groups, grouped convolution is one convolution for each; compile time grows with them."""


def is_fast_on_cpu(x: Array, kernel: Array) -> bool:
    """Say whether `convolve_on_cpu` is for these arrays: on CPU, and without shardings in their types."""
    return fast_path("convolution", "cpu") and not types_carry_sharding(x, kernel)


@functools.partial(jax.jit, static_argnums=2)  # one call when run eagerly; layers of equal shape are traced once
def convolve_on_cpu(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Compute what `jaxnets.nn.convolution.convolve` says, in the form that was fastest in measurements.

    Args:
        x: `[batch, *spatial, in]`.
        kernel: `[*kernel_size, in / groups, out]`, of the same dtype. Output channels are ordered by group.
        geometry: see `jaxnets.nn.window.Geometry`.

    Returns:
        `[batch, *positions, out]`.

    Example:
        >>> x, kernel = jnp.arange(4.0).reshape(1, 4, 1), jnp.ones((2, 1, 1))
        >>> convolve_on_cpu(x, kernel, Geometry((1,), ((0, 0),), (1,), (1,))).ravel()
        Array([1., 3., 5.], dtype=float32)
    """
    form = None if use_compiled(x, kernel) else _form_of(kernel.shape, geometry)
    return bind_convolution(x, kernel, geometry) if form is None else form(x, kernel, geometry)


def _form_of(kernel_shape: tuple[int, ...], geometry: Geometry) -> Callable[[Array, Array, Geometry], Array] | None:
    """Return the fastest form of other functions; None if it is one convolution."""
    *kernel_size, fan_in, out = kernel_shape
    taps, is_dilated = window_size(kernel_size), max(geometry.input_dilation) > 1
    if fan_in == 1 and is_by_channel(kernel_shape, geometry):
        return None
    if geometry.groups == 1 and (taps == 1 or taps * fan_in <= out) and not is_dilated:
        return _product_of_patches
    if len(kernel_size) == 3 and (geometry.stride[0] == 1 or geometry.input_dilation[0] == 1):
        return _sum_over_depth
    return _by_group if 1 < geometry.groups <= _SEPARATE_GROUPS else None


def _by_group(x: Array, kernel: Array, geometry: Geometry) -> Array:
    alone = geometry._replace(groups=1)
    pairs = zip(*(jnp.split(array, geometry.groups, axis=-1) for array in (x, kernel)), strict=True)
    return jnp.concatenate([convolve_on_cpu(part, part_kernel, alone) for part, part_kernel in pairs], axis=-1)


def _product_of_patches(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve by one matrix product; for few input channels, where the patches take no more room than the result."""
    *kernel_size, _, out = kernel.shape
    seen = patches(x, kernel_size, geometry)
    y = _aligned_product(seen.reshape(-1, seen.shape[-1]), kernel.reshape(-1, out))
    return y.reshape(*seen.shape[:-1], out)


def _aligned_product(rows: Array, matrix: Array) -> Array:
    """Multiply with zeros in the place of missing features: products over 3, 5, 6 or 7 are slower than over 4 or 8."""
    if not fast_path("rows", "cpu"):
        return rows @ matrix
    features, out = (size + (-size % 4 if 2 < size < 8 else 0) for size in matrix.shape)
    padded = jnp.pad(rows, ((0, 0), (0, features - rows.shape[1])))
    wide = jnp.pad(matrix, ((0, features - len(matrix)), (0, out - matrix.shape[1])))
    return (padded @ wide)[:, : matrix.shape[1]]


def _sum_over_depth(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve in three dimensions by a sum of two-dimensional convolutions, one for each tap along the depth."""
    stride, padding, dilation, input_dilation, groups = geometry
    planes = Geometry(stride[1:], padding[1:], dilation[1:], input_dilation[1:], groups)
    step, gap, between = stride[0], dilation[0], input_dilation[0]
    depth = geometry.output_sizes(x.shape[1:-1], kernel.shape[:-2])[0]
    padded = pad_spatial(x, (padding[0], (0, 0), (0, 0)), 0) if between == 1 else x
    total = jnp.zeros((), compute_dtype(x))
    for tap in range(kernel.shape[0]):
        first = tap * gap
        seen = jax.lax.slice_in_dim(padded, first, first + (depth - 1) * step + 1, step, axis=1) if between == 1 else x
        part = convolve_on_cpu(seen.reshape(-1, *seen.shape[2:]), kernel[tap], planes).astype(total.dtype)
        part = part.reshape(*seen.shape[:2], *part.shape[1:])
        total = total + (part if between == 1 else _placed(part, (tap,), geometry, (depth,)))
    return total.astype(x.dtype)


def _placed(x: Array, tap: tuple[int, ...], geometry: Geometry, positions: tuple[int, ...]) -> Array:
    """Put each entry where the kernel's `tap` sees it, and zeros elsewhere, for convolutions of stride 1.

    Args:
        x: `[batch, *spatial, ...]`.
        tap: its index on the first spatial axes.
        geometry: with `input_dilation`.
        positions: the result's sizes on these axes.
    """
    config = [(0, 0, 0)] * x.ndim
    settings = zip(tap, positions, geometry.padding, geometry.dilation, geometry.input_dilation, strict=False)
    for axis, (index, size, (before, _), gap, between) in enumerate(settings, start=1):
        first = before - index * gap
        config[axis] = (first, size - 1 - first - (x.shape[axis] - 1) * between, between - 1)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), config)


# The primitive.


def bind_convolution(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve by the primitive, which is evaluated by oneDNN, by sums over taps or by `lax`, whichever is fastest."""
    y: Array = _convolution_p.bind(x, kernel, geometry=geometry)
    return y


def _type_of_result(x: Any, kernel: Any, *, geometry: Geometry) -> Any:
    positions = geometry.output_sizes(x.shape[1:-1], kernel.shape[:-2])
    return jax.core.ShapedArray((x.shape[0], *positions, kernel.shape[-1]), x.dtype)


def _gradient_of_input(dy: Array, x: Any, kernel: Array, *, geometry: Geometry) -> Array:
    transpose = geometry.transposed(x.aval.shape[1:-1], kernel.shape[:-2])
    return bind_convolution(dy, transposed_kernel(kernel, geometry.groups), transpose)


def _gradient_of_kernel(dy: Array, x: Array, kernel: Any, *, geometry: Geometry) -> Array:
    if use_compiled(x, dy):
        gradient: Array = _kernel_gradient_p.bind(x, dy, kernel_shape=kernel.aval.shape, geometry=geometry)
        return gradient
    return kernel_gradient(x, dy, kernel.aval.shape, geometry)


def _batch(args: tuple[Array, Array], axes: tuple[Any, Any], *, geometry: Geometry) -> tuple[Array, int]:
    """Fold the new axis into the batch or the output channels; else convolve one after the other."""
    (x, kernel), (x_axis, kernel_axis) = args, axes
    if kernel_axis is None:
        x = jnp.moveaxis(x, x_axis, 0)
        y = bind_convolution(x.reshape(-1, *x.shape[2:]), kernel, geometry)
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0
    if x_axis is None and geometry.groups == 1:
        kernel = jnp.moveaxis(kernel, kernel_axis, -2)
        y = bind_convolution(x, kernel.reshape(*kernel.shape[:-2], -1), geometry)
        return y.reshape(*y.shape[:-1], *kernel.shape[-2:]), y.ndim - 1
    kernels = jnp.moveaxis(kernel, kernel_axis, 0)
    if x_axis is None:
        return jax.lax.map(lambda one: bind_convolution(x, one, geometry), kernels), 0
    pairs = (jnp.moveaxis(x, x_axis, 0), kernels)
    return jax.lax.map(lambda pair: bind_convolution(pair[0], pair[1], geometry), pairs), 0


def _lower_on_cpu(context: Any, x: Any, kernel: Any, *, geometry: Geometry) -> Any:
    x_type, kernel_type = context.avals_in
    form: Callable[[Array, Array, Geometry], Array] = by_lax
    if can_call(context, Kind.FORWARD, x_type.shape, kernel_type.shape, geometry):
        form = call_forward
    elif use_compiled(x_type, kernel_type) and (other := _form_of(kernel_type.shape, geometry)) is not None:
        form = other
    elif is_by_channel(kernel_type.shape, geometry):
        form = _by_channel
    elif can_call_onednn(context, x_type, kernel_type, geometry):
        form = call_onednn
    return mlir.lower_fun(form, multiple_results=False)(context, x, kernel, geometry=geometry)


# Depthwise convolution: XLA's own routine takes one channel after the other; a sum of slices of the input, each times
# the numbers of one tap, is a single loop for XLA.


def _by_channel(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """For each tap of the kernel, what it sees times its number."""
    wide = compute_dtype(x)
    *kernel_size, fan_in, out = kernel.shape
    channels = max(out, fan_in * geometry.groups)
    by_group = kernel if fan_in == 1 else jnp.swapaxes(kernel, -1, -2)
    taps = by_group.astype(wide).reshape(-1, *(1,) * (x.ndim - 1), channels)
    wide_x = repeat_channels(x.astype(wide), channels)
    if max(geometry.input_dilation) == 1:
        padded = pad_spatial(wide_x, geometry.padding, 0)
        slices = window_slices(padded, kernel_size, geometry.stride, geometry.dilation)
        terms = [part * tap for part, tap in zip(slices, taps, strict=True)]
    else:
        positions = geometry.output_sizes(x.shape[1:-1], tuple(kernel_size))
        offsets = np.ndindex(*kernel_size)
        terms = [_placed(wide_x * tap, offset, geometry, positions) for offset, tap in zip(offsets, taps, strict=True)]
    total: Array = functools.reduce(jnp.add, terms)
    if fan_in > 1:
        total = jnp.sum(total.reshape(*total.shape[:-1], out, fan_in), axis=-1)
    return total.astype(x.dtype)


_convolution_p = Primitive("convolution_on_cpu")
_convolution_p.def_impl(jax.jit(bind_convolution, static_argnames="geometry"))
_convolution_p.def_abstract_eval(_type_of_result)
ad.defbilinear(_convolution_p, _gradient_of_input, _gradient_of_kernel)
batching.primitive_batchers[_convolution_p] = _batch
# what was traced on a CPU may be compiled for another platform
mlir.register_lowering(_convolution_p, mlir.lower_fun(by_lax, multiple_results=False))
mlir.register_lowering(_convolution_p, _lower_on_cpu, platform="cpu")


# The gradient of a kernel as a primitive, where the package jaxnets-cpu is installed.


def _gradient_of_gradient_by_x(ct: Array, x: Any, dy: Array, *, kernel_shape: Any, geometry: Geometry) -> Array:
    transpose = geometry.transposed(x.aval.shape[1:-1], kernel_shape[:-2])
    return bind_convolution(dy, transposed_kernel(ct, geometry.groups), transpose)


def _gradient_of_gradient_by_dy(ct: Array, x: Array, dy: Any, *, kernel_shape: Any, geometry: Geometry) -> Array:
    return bind_convolution(x, ct, geometry)


def _batch_kernel_gradient(args: tuple[Array, Array], axes: tuple[Any, Any], **settings: Any) -> tuple[Array, int]:
    """Compute one after the other."""
    (x, dy), (x_axis, dy_axis) = args, axes
    mapped = [None if axis is None else jnp.moveaxis(a, axis, 0) for a, axis in ((x, x_axis), (dy, dy_axis))]

    def one(arrays: list[Any]) -> Array:
        parts = [part if part is not None else whole for part, whole in zip(arrays, args, strict=True)]
        gradient: Array = _kernel_gradient_p.bind(*parts, **settings)
        return gradient

    return jax.lax.map(one, mapped), 0


def _lower_kernel_gradient_on_cpu(context: Any, x: Any, dy: Any, *, kernel_shape: Any, geometry: Geometry) -> Any:
    x_type, _ = context.avals_in
    compiled = can_call(context, Kind.KERNEL_GRADIENT, x_type.shape, kernel_shape, geometry)
    form = call_kernel_gradient if compiled else kernel_gradient
    lower = mlir.lower_fun(form, multiple_results=False)
    return lower(context, x, dy, kernel_shape=kernel_shape, geometry=geometry)


_kernel_gradient_p = Primitive("kernel_gradient_on_cpu")
_kernel_gradient_p.def_impl(jax.jit(_kernel_gradient_p.bind, static_argnames=("kernel_shape", "geometry")))
_kernel_gradient_p.def_abstract_eval(
    lambda x, dy, *, kernel_shape, geometry: jax.core.ShapedArray(kernel_shape, x.dtype)
)
ad.defbilinear(_kernel_gradient_p, _gradient_of_gradient_by_x, _gradient_of_gradient_by_dy)
batching.primitive_batchers[_kernel_gradient_p] = _batch_kernel_gradient
mlir.register_lowering(_kernel_gradient_p, mlir.lower_fun(kernel_gradient, multiple_results=False))
mlir.register_lowering(_kernel_gradient_p, _lower_kernel_gradient_on_cpu, platform="cpu")
