"""Convolution and transposed convolution as functions of arrays, with gradients that are fast on CPU.

A convolution y = conv(x, kernel) is linear in each argument, so it comes with two more maps, both convolutions too:

    input_gradient (dy, kernel): the convolution of dy, dilated by the stride, with the flipped and transposed kernel
    kernel_gradient(x, dy):      the convolution of x with dy, batch and channels exchanged

XLA's CPU backend has a fast routine for convolutions whose arrays are laid out [batch, *spatial, channels] and
[*window, in, out]. Outside of loops it rewrites others; inside `lax.scan` and `lax.while_loop` it does not
(https://github.com/jax-ml/jax/issues/12868), and the kernel gradient that JAX derives falls to a routine 15 to 100
times slower. All three maps here are written in that layout. `jax.custom_vjp` would forbid forward mode, so the maps
are given to `jax.custom_jvp`: the tangent of y with respect to x is the transpose of `input_gradient`, which reverse
mode transposes once more, back to `input_gradient` itself. Every transformation is possible; reverse mode, the one
that trains networks, is the fast one.

On CPU some convolutions are faster in another form, see `_convolve_on_cpu`. On other backends, and in
`jax.shard_map`, `lax` is used as it is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxnets.backend import fast_path, types_carry_sharding
from jaxnets.nn.check import compute_dtype
from jaxnets.nn.window import output_sizes, pad_spatial, span, window_size, window_slices
from jaxnets.types import Array

_DEPTHWISE_TAPS = 64
"""Up to this many taps, depthwise convolution on CPU is a sum of slices; the time to compile it grows with them."""
_SEPARATE_GROUPS = 8
"""Up to this many groups, grouped convolution on CPU is one convolution for each; likewise."""


class Geometry(NamedTuple):
    """The static settings of one convolution, one entry for each spatial axis.

    Attributes:
        input_sizes: spatial sizes of the input.
        window: sizes of the kernel's window.
        stride: steps of the window.
        padding: zeros (before, after); negative numbers crop.
        dilation: steps between taps of the window.
        groups: the number of groups of channels.
    """

    input_sizes: tuple[int, ...]
    window: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int = 1

    @property
    def output_sizes(self) -> tuple[int, ...]:
        """Spatial sizes of the output."""
        return output_sizes("convolution", *self[:5])


Map = Callable[[Array, Array, Geometry], Array]


def convolve(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve (without flipping the kernel, as all of deep learning does) in the form fastest on this backend.

    Args:
        x: `[batch, *spatial, in]`.
        kernel: `[*window, in/groups, out]`, of the same dtype. Output channels are ordered by group.
        geometry: see `Geometry`.

    Returns:
        `[batch, *output, out]`.

    Example:
        >>> x, kernel = jnp.arange(4.0).reshape(1, 4, 1), jnp.ones((2, 1, 1))
        >>> convolve(x, kernel, Geometry((4,), (2,), (1,), ((0, 0),), (1,))).ravel()
        Array([1., 3., 5.], dtype=float32)
    """
    form = _convolve_on_cpu if _use_fast_form(x, kernel) else correlate
    return form(x, kernel, geometry)


def convolve_transpose(y: Array, kernel: Array, geometry: Geometry) -> Array:
    """Apply the transpose of `convolve`, its input gradient, as a layer in its own right.

    Args:
        y: `[batch, *output, out]`, in the shape of the results of `convolve`.
        kernel: `[*window, in/groups, out]`, of the same dtype.
        geometry: that of the convolution.

    Returns:
        `[batch, *spatial, in]`, in the shape of the inputs of `convolve`.

    Example:
        >>> y, kernel = jnp.arange(3.0).reshape(1, 3, 1), jnp.ones((2, 1, 1))
        >>> convolve_transpose(y, kernel, Geometry((4,), (2,), (1,), ((0, 0),), (1,))).ravel()
        Array([0., 1., 3., 2.], dtype=float32)
    """
    form = _transpose_on_cpu if _use_fast_form(y, kernel) else input_gradient
    return form(y, kernel, geometry)


def _use_fast_form(*arrays: Array) -> bool:
    return fast_path("convolution", "cpu") and not types_carry_sharding(*arrays)


def correlate(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve by `lax`, with the gradients that JAX derives."""
    return _canonical(x, kernel, geometry.stride, geometry.padding, geometry.dilation, geometry.groups)


def input_gradient(dy: Array, kernel: Array, geometry: Geometry) -> Array:
    """Return the gradient of `vdot(dy, correlate(x, kernel))` with respect to `x`."""
    groups, rank = geometry.groups, len(geometry.window)
    *window, fan_in, out = kernel.shape
    flipped = jnp.flip(kernel, range(rank)).reshape(*window, fan_in, groups, out // groups)
    exchanged = jnp.moveaxis(flipped, -1, rank).swapaxes(-1, -2).reshape(*window, out // groups, groups * fan_in)
    padding = []
    for size, width, step, (before, _), gap, positions in zip(*geometry[:5], geometry.output_sizes, strict=True):
        padding.append((span(width, gap) - 1 - before, size - 1 + before - (positions - 1) * step))
    ones = (1,) * rank
    return _canonical(dy, exchanged, ones, tuple(padding), geometry.dilation, groups, geometry.stride)


def kernel_gradient(x: Array, dy: Array, geometry: Geometry) -> Array:
    """Return the gradient of `vdot(dy, correlate(x, kernel))` with respect to the kernel."""
    groups, rank = geometry.groups, len(geometry.window)
    batch, *sizes, channels = x.shape
    grouped = jnp.moveaxis(x.reshape(batch, *sizes, groups, channels // groups), (-1, 0), (0, -1))
    exchanged = grouped.reshape(channels // groups, *sizes, groups * batch)
    padding = []
    for size, width, step, (before, _), gap, positions in zip(*geometry[:5], geometry.output_sizes, strict=True):
        padding.append((before, (positions - 1) * step + span(width, gap) - size - before))
    # the taps of this convolution are the positions of the other: stride and dilation change places
    result = _canonical(exchanged, jnp.moveaxis(dy, 0, -2), geometry.dilation, tuple(padding), geometry.stride, groups)
    return jnp.moveaxis(result, 0, rank)


def _canonical(
    x: Array,
    kernel: Array,
    stride: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dilation: tuple[int, ...],
    groups: int,
    input_dilation: tuple[int, ...] | None = None,
) -> Array:
    axes = "DHW"[-len(stride) :]
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        stride,
        padding,
        lhs_dilation=input_dilation,
        rhs_dilation=dilation,
        dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
        feature_group_count=groups,
    )


def _bilinear(value: Map, first_gradient: Map, second_gradient: Map) -> Map:
    """Make a `value(a, b, geometry)` that is linear in `a` and in `b` differentiate by its two gradient maps.

    Args:
        value: the function.
        first_gradient: `(dy, b, geometry)` to the gradient with respect to `a`.
        second_gradient: `(dy, a, geometry)` to the gradient with respect to `b`.
    """

    @functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
    def function(a: Array, b: Array, geometry: Geometry) -> Array:
        return value(a, b, geometry)

    def tangent(
        geometry: Geometry, primals: tuple[Array, Array], tangents: tuple[Array | SymbolicZero, ...]
    ) -> tuple[Array, Array]:
        (a, b), (da, db) = primals, tangents
        y = function(a, b, geometry)
        like_y = jax.ShapeDtypeStruct(y.shape, y.dtype)
        terms = []
        if not isinstance(da, SymbolicZero):
            terms += jax.linear_transpose(lambda dy: first_gradient(dy, b, geometry), like_y)(da)
        if not isinstance(db, SymbolicZero):
            terms += jax.linear_transpose(lambda dy: second_gradient(dy, a, geometry), like_y)(db)
        return y, functools.reduce(jnp.add, terms)

    function.defjvp(tangent, symbolic_zeros=True)
    return function


_with_gradients = _bilinear(correlate, input_gradient, lambda dy, x, geometry: kernel_gradient(x, dy, geometry))
_transpose_with_gradients = _bilinear(input_gradient, correlate, kernel_gradient)


@functools.partial(jax.jit, static_argnums=2)  # one call when run eagerly; layers of equal shape are traced once
def _convolve_on_cpu(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Choose the form that was fastest in measurements, in one step and inside a scan."""
    taps, groups = window_size(geometry.window), geometry.groups
    fan_in, out = kernel.shape[-2:]
    if groups > 1 and fan_in == 1 and taps <= _DEPTHWISE_TAPS:
        return _sum_of_slices(x, kernel, geometry)
    if groups == 1 and (taps == 1 or taps * fan_in <= out):
        return _product_of_patches(x, kernel, geometry)
    if len(geometry.window) == 3:
        return _over_depth(x, kernel, geometry)
    if 1 < groups <= _SEPARATE_GROUPS:
        return _group_by_group(_convolve_on_cpu, x, kernel, geometry)
    return _with_gradients(x, kernel, geometry)


@functools.partial(jax.jit, static_argnums=2)
def _transpose_on_cpu(y: Array, kernel: Array, geometry: Geometry) -> Array:
    if len(geometry.window) == 3:
        return _transpose_over_depth(y, kernel, geometry)
    if 1 < geometry.groups <= _SEPARATE_GROUPS:
        return _group_by_group(_transpose_with_gradients, y, kernel, geometry)
    return _transpose_with_gradients(y, kernel, geometry)


def _sum_of_slices(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve depthwise: for each tap of the window, what it sees times its number; XLA fuses all of it."""
    wide = compute_dtype(x)
    multiplier = kernel.shape[-1] // x.shape[-1]
    repeated = jnp.repeat(x, multiplier, axis=-1) if multiplier > 1 else x
    padded = pad_spatial(repeated.astype(wide), geometry.padding, 0)
    taps = kernel.astype(wide).reshape((-1,) + (1,) * (x.ndim - 1) + kernel.shape[-1:])
    slices = window_slices(padded, geometry.window, geometry.stride, geometry.dilation)
    terms = [part * tap for part, tap in zip(slices, taps, strict=True)]
    total: Array = functools.reduce(jnp.add, terms)
    return total.astype(x.dtype)


def _product_of_patches(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve by one matrix product; for few input channels, where the patches take no more room than the result."""
    padded = pad_spatial(x, geometry.padding, 0)
    patches = jnp.concatenate(list(window_slices(padded, geometry.window, geometry.stride, geometry.dilation)), axis=-1)
    out = kernel.shape[-1]
    y = patches.reshape(-1, patches.shape[-1]) @ kernel.reshape(-1, out)
    return y.reshape(*patches.shape[:-1], out)


def _group_by_group(function: Map, x: Array, kernel: Array, geometry: Geometry) -> Array:
    groups = geometry.groups
    alone = geometry._replace(groups=1)
    pairs = zip(jnp.split(x, groups, axis=-1), jnp.split(kernel, groups, axis=-1), strict=True)
    return jnp.concatenate([function(part, part_kernel, alone) for part, part_kernel in pairs], axis=-1)


def _planes(geometry: Geometry) -> Geometry:
    """The geometry without its first axis."""
    sizes, window, stride, padding, dilation, groups = geometry
    return Geometry(sizes[1:], window[1:], stride[1:], padding[1:], dilation[1:], groups)


def _over_depth(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve in three dimensions by a sum of two-dimensional convolutions, one for each tap along the depth."""
    step, gap, depth = geometry.stride[0], geometry.dilation[0], geometry.output_sizes[0]
    padded = pad_spatial(x, (geometry.padding[0], (0, 0), (0, 0)), 0)
    total = jnp.zeros((), compute_dtype(x))
    for tap in range(geometry.window[0]):
        seen = jax.lax.slice_in_dim(padded, tap * gap, tap * gap + (depth - 1) * step + 1, step, axis=1)
        part = _convolve_on_cpu(seen.reshape(-1, *seen.shape[2:]), kernel[tap], _planes(geometry))
        total = total + part.astype(total.dtype)
    return total.astype(x.dtype).reshape(x.shape[0], depth, *total.shape[1:])


def _transpose_over_depth(y: Array, kernel: Array, geometry: Geometry) -> Array:
    """The transpose of `_over_depth`: each two-dimensional result goes to its places along the depth."""
    step, gap, size, before = geometry.stride[0], geometry.dilation[0], geometry.input_sizes[0], geometry.padding[0][0]
    total = jnp.zeros((), compute_dtype(y))
    for tap in range(geometry.window[0]):
        part = _transpose_on_cpu(y.reshape(-1, *y.shape[2:]), kernel[tap], _planes(geometry)).astype(total.dtype)
        placed = part.reshape(*y.shape[:2], *part.shape[1:])
        first = tap * gap - before
        last = size - 1 - first - (y.shape[1] - 1) * step
        config = [(0, 0, 0), (first, last, step - 1)] + [(0, 0, 0)] * 3
        total = total + jax.lax.pad(placed, jnp.zeros((), total.dtype), config)
    return total.astype(y.dtype)
