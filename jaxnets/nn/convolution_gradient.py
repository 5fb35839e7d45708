"""Convolution and transposed convolution in the form fastest on CPU, with derivatives of their own.

Outside of loops XLA's CPU backend brings convolutions into the layout of its fast routine; inside `lax.scan` and
`lax.while_loop` it does not (https://github.com/jax-ml/jax/issues/12868), and the kernel gradient that JAX derives
falls to a routine 15 to 100 times slower. So a convolution that is differentiated becomes the primitive of
`convolution_primitive`; one that is not stays what `lax` makes of it, which can be exported and kept in the compilation
cache. On other backends, and in `jax.shard_map`, `lax` is used as it is.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxnets.backend import fast_path, types_carry_sharding
from jaxnets.nn.check import compute_dtype
from jaxnets.nn.convolution_maps import (
    Geometry,
    Map,
    correlate,
    exchange_channels,
    input_gradient,
    kernel_gradient,
    transposed,
)
from jaxnets.nn.convolution_primitive import bind_convolution
from jaxnets.nn.depthwise_convolution import is_depthwise
from jaxnets.nn.window import pad_spatial, window_size, window_slices
from jaxnets.types import Array

Pair = tuple[Array, Array]
_SEPARATE_GROUPS = 8
"""Up to this many groups, grouped convolution on CPU is one convolution for each; compile time grows with them."""


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


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _with_gradients(x: Array, kernel: Array, geometry: Geometry) -> Array:
    if is_depthwise(geometry, kernel):
        return bind_convolution(x, kernel, geometry)
    return correlate(x, kernel, geometry)


def _tangent(geometry: Geometry, primals: Pair, tangents: tuple[Array | SymbolicZero, ...]) -> Pair:
    (x, kernel), (dx, d_kernel) = primals, tangents
    terms = []
    if not isinstance(dx, SymbolicZero):
        terms.append(bind_convolution(dx, kernel, geometry))
    if not isinstance(d_kernel, SymbolicZero):
        terms.append(bind_convolution(x, d_kernel, geometry))
    return bind_convolution(x, kernel, geometry), functools.reduce(jnp.add, terms)


_with_gradients.defjvp(_tangent, symbolic_zeros=True)


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


_strided_transpose = _bilinear(input_gradient, correlate, kernel_gradient)


def _transpose_with_gradients(y: Array, kernel: Array, geometry: Geometry) -> Array:
    if max(geometry.stride) == 1:
        return _with_gradients(y, exchange_channels(kernel, geometry), transposed(geometry))
    return _strided_transpose(y, kernel, geometry)


@functools.partial(jax.jit, static_argnums=2)  # one call when run eagerly; layers of equal shape are traced once
def _convolve_on_cpu(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Choose the form that was fastest in measurements, in one step and inside a scan."""
    taps, groups = window_size(geometry.window), geometry.groups
    fan_in, out = kernel.shape[-2:]
    if is_depthwise(geometry, kernel):
        return _with_gradients(x, kernel, geometry)
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
