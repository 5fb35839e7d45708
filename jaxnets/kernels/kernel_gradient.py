"""The gradient of a convolution's kernel, in the forms that are fastest on CPU.

XLA's routine for it is the fastest for batches of ordinary convolutions. Where it is slow, what the kernel sees is
copied out of the images and multiplied with the result's gradient. The copies are several times as large as the
images; from memory they would take longer than the products, so some images at a time are computed, whose copies stay
in the cache.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.xla_metadata import set_xla_metadata

from jaxnets.backend import fast_path
from jaxnets.devices import vary_like
from jaxnets.nn.check import compute_dtype
from jaxnets.nn.window import Geometry, pad_spatial, span, transposed_kernel, window_size, window_slices
from jaxnets.types import Array

MOST_TAPS = 64
"""Up to this many taps, forms have an operation for each of them; compile time grows with them."""
_FEW_IMAGES, _VERY_FEW_IMAGES = 7, 3
"""Up to these batches XLA's routine is slow and very slow: it loops over the batch innermost."""
_FEW_COLUMNS = 800
"""Up to so many columns in both factors of a product, the copies of up to `_FEW_IMAGES` are divided among both."""
_FEW_OUTPUTS = 8
"""Up to so many channels of the result, if those of the input are at least twice as many, only the result is copied."""
_FEW_TAPS, _FEW_NUMBERS = 9, 512
"""Up to so many taps, and numbers that the kernel sees at a position, convolutions with strides take patches."""
_MOST_COPIED = 2**23
"""Up to so many numbers are copied out of the images at once, 32 MiB in float32."""
_IN_CACHE = 3 * 2**17
"""About so many of them are in the cache with what is read, 1.5 MiB in float32."""
_IN_CACHE_BY_CHANNEL = 2**16
"""The same for numbers of an image in a depthwise convolution, for whose taps copies are made one after the other."""


def kernel_gradient(x: Array, dy: Array, kernel_shape: tuple[int, ...], geometry: Geometry) -> Array:
    """Compute the gradient of a kernel in the fastest form.

    Args:
        x: the input `[batch, *spatial, in]`.
        dy: the gradient of the result, `[batch, *positions, out]`.
        kernel_shape: `(*kernel_size, in / groups, out)`.
        geometry: of the convolution.

    Returns:
        `[*kernel_size, in / groups, out]`.

    Example:
        >>> x, dy = jnp.arange(4.0).reshape(1, 4, 1), jnp.ones((1, 3, 1))
        >>> kernel_gradient(x, dy, (2, 1, 1), Geometry((1,), ((0, 0),), (1,), (1,))).ravel()
        Array([3., 6.], dtype=float32)
    """
    *kernel_size, _, out = kernel_shape
    if max(geometry.input_dilation) > max(geometry.stride) == 1:  # the transposed convolution has no zeros in between
        groups, transpose = geometry.groups, geometry.transposed(x.shape[1:-1], kernel_size)
        transposed_shape = (*kernel_size, out // groups, x.shape[-1])
        return transposed_kernel(kernel_gradient(dy, x, transposed_shape, transpose), groups)
    form = _form_of(x, dy, kernel_shape, geometry)
    if form is not None:
        return form(x, dy, tuple(kernel_size), geometry).astype(x.dtype)
    # were this inlined, XLA would compute what made x and dy again while it transposes them, in the wrong order
    with set_xla_metadata(inlineable="false"):
        gradient: Array = _by_convolution(x, dy, tuple(kernel_size), geometry)
    return gradient


_Form = Callable[[Array, Array, tuple[int, ...], Geometry], Array]
"""Of `(x, dy, kernel_size, geometry)`; returns at least float32."""


def _form_of(x: Array, dy: Array, kernel_shape: tuple[int, ...], geometry: Geometry) -> _Form | None:
    """Return the fastest form but XLA's routine; None for that."""
    *kernel_size, fan_in, out = kernel_shape
    if fan_in == 1 and is_by_channel(kernel_shape, geometry):
        return _by_channel
    if geometry.groups > 1 or max(geometry.input_dilation) > 1:
        return None
    if len(kernel_size) == 1:
        return _by_tap if kernel_size[0] <= MOST_TAPS else None
    sizes_are_known = all(isinstance(size, int) for size in dy.shape)  # exported functions may leave them open
    if not sizes_are_known or not fast_path("kernel_gradient", "cpu"):
        return None
    taps, few = window_size(kernel_size), len(x) <= _FEW_IMAGES
    has_strides, is_dense = max(geometry.stride) > 1, max(*geometry.stride, *geometry.dilation) == 1
    halves = window_size(kernel_size[:-1]) * fan_in + kernel_size[-1] * out
    form: _Form
    if is_dense and taps <= MOST_TAPS and out <= min(_FEW_OUTPUTS, fan_in // 2):
        form, columns = functools.partial(_by_moves, 0), fan_in + taps * out
    elif few and is_dense and halves <= _FEW_COLUMNS:
        form, columns = functools.partial(_by_moves, len(kernel_size) - 1), halves
    elif (few and not is_dense) or len(x) <= _VERY_FEW_IMAGES or (has_strides and _is_small(taps, fan_in)):
        form, columns = _by_patches, taps * fan_in
    else:
        return None
    copied = math.prod(dy.shape[:-1]) * columns
    at_once = _images_at_once(x, copied, _IN_CACHE)
    return functools.partial(_in_parts, form, at_once) if copied * at_once <= _MOST_COPIED * len(x) else None


def _is_small(taps: int, fan_in: int) -> bool:
    return taps <= _FEW_TAPS and taps * fan_in <= _FEW_NUMBERS


def _images_at_once(x: Array, numbers: int, most: int) -> int:
    """A divisor of the batch, so that of `numbers` at most `most` are computed at once.

    It is the whole batch if devices may divide it, or if its divisors are far too small.
    """
    batch = x.shape[0]
    if not all(isinstance(size, int) for size in x.shape) or jax.device_count() > 1 or numbers <= most:
        return batch
    wanted = max(1, most * batch // numbers)
    found = max(size for size in range(1, wanted + 1) if batch % size == 0)
    return found if 8 * found >= wanted else batch


def _in_parts(form: _Form, size: int, x: Array, dy: Array, kernel_size: tuple[int, ...], geometry: Geometry) -> Array:
    """Add the gradients by `size` images each."""
    if size == x.shape[0]:
        return form(x, dy, kernel_size, geometry)

    def add(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
        return total + form(*part, kernel_size, geometry), None

    x, dy = (array.reshape(-1, size, *array.shape[1:]) for array in (x, dy))
    shape = jax.eval_shape(lambda x, dy: form(x, dy, kernel_size, geometry), x[0], dy[0])
    total, _ = jax.lax.scan(add, vary_like(jnp.zeros(shape.shape, shape.dtype), x, dy), (x, dy))
    return total


# By XLA's routine for convolutions.


@functools.partial(jax.jit, static_argnums=(2, 3))
def _by_convolution(x: Array, dy: Array, kernel_size: tuple[int, ...], geometry: Geometry) -> Array:
    """Convolve x with dy, batch and channels exchanged; its taps are the positions of the other convolution."""
    groups = geometry.groups
    batch, *sizes, channels = x.shape
    grouped = jnp.moveaxis(x.reshape(batch, *sizes, groups, channels // groups), (-1, 0), (0, -1))
    padding = []
    axes = zip(sizes, kernel_size, dy.shape[1:-1], *geometry[:4], strict=True)
    for size, width, positions, step, (before, _), gap, between in axes:
        padding.append((before, span(positions, step) - 1 + span(width, gap) - span(size, between) - before))
    settings = Geometry(geometry.dilation, tuple(padding), geometry.stride, geometry.input_dilation, groups)
    result = by_lax(grouped.reshape(channels // groups, *sizes, groups * batch), jnp.moveaxis(dy, 0, -2), settings)
    return jnp.moveaxis(result, 0, len(kernel_size))


def by_lax(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve `[batch, *spatial, in]` with `[*kernel_size, in / groups, out]` by `jax.lax` alone."""
    axes = "DHW"[-len(geometry.stride) :]
    layout = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
    stride, _, dilation, input_dilation, groups = geometry
    padding, kernel_size = [], kernel.shape[:-2]
    for width, step, (before, after), gap, between in zip(kernel_size, *geometry[:4], strict=True):
        # XLA takes such an axis for one of groups, whatever its size, and ends the process if another axis is small
        is_mistaken = before == after == 0 and gap == 1 < between == width == step + 1
        padding.append((before, step if is_mistaken else after))
    y = jax.lax.conv_general_dilated(x, kernel, stride, padding, input_dilation, dilation, layout, groups)
    if tuple(padding) == geometry.padding:
        return y
    positions = geometry.output_sizes(x.shape[1:-1], kernel_size)
    return jax.lax.slice(y, [0] * y.ndim, (y.shape[0], *positions, y.shape[-1]))


# By products of what the kernel sees.


def patches(x: Array, kernel_size: Sequence[int], geometry: Geometry) -> Array:
    """Return what the kernel sees at each position: `[batch, *positions, taps * channels]`."""
    padded = pad_spatial(x, geometry.padding, 0)
    return jnp.concatenate(list(window_slices(padded, kernel_size, geometry.stride, geometry.dilation)), axis=-1)


def _by_patches(x: Array, dy: Array, kernel_size: tuple[int, ...], geometry: Geometry) -> Array:
    """The product of what the kernel sees at all positions with the result's gradient there."""
    product = _product_over_rows(patches(x, kernel_size, geometry), dy)
    return product.reshape(*kernel_size, x.shape[-1], dy.shape[-1])


def _by_moves(axes: int, x: Array, dy: Array, kernel_size: tuple[int, ...], geometry: Geometry) -> Array:
    """The same with fewer copies, for windows without gaps.

    Only the taps of the first `axes` are copies of the input. Those of the others are copies of the result's gradient,
    moved the other way.
    """
    first, last = kernel_size[:axes], kernel_size[axes:]
    ones = (1,) * len(kernel_size)
    padded = pad_spatial(x, geometry.padding, 0)
    seen = jnp.concatenate(list(window_slices(padded, (*first, *ones[axes:]), ones, ones)), axis=-1)
    untouched = ((0, 0),) * (axes + 1)
    moved = [
        jnp.pad(dy, (*untouched, *((tap, width - 1 - tap) for tap, width in zip(taps, last, strict=True)), (0, 0)))
        for taps in np.ndindex(*last)
    ]
    product = _product_over_rows(seen, jnp.concatenate(moved, axis=-1))
    return jnp.moveaxis(product.reshape(*first, x.shape[-1], *last, dy.shape[-1]), axes, -2)


def _product_over_rows(a: Array, b: Array) -> Array:
    rows, columns = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    return jnp.matmul(rows.T, columns, preferred_element_type=compute_dtype(a))


def _by_tap(x: Array, dy: Array, kernel_size: tuple[int, ...], geometry: Geometry) -> Array:
    """For kernels of one axis: XLA's routine is slow where a sequence is short (docs/LOG.md)."""
    at_once = _images_at_once(x, math.prod((*kernel_size, *dy.shape[:-1], x.shape[-1])), _IN_CACHE)
    return _in_parts(_products_by_tap, at_once, x, dy, kernel_size, geometry)


def _products_by_tap(x: Array, dy: Array, kernel_size: tuple[int, ...], geometry: Geometry) -> Array:
    """For each tap of the kernel, the product of what it sees with the result's gradient."""
    padded = pad_spatial(x, geometry.padding, 0)
    slices = window_slices(padded, kernel_size, geometry.stride, geometry.dilation)
    over_all = (tuple(range(x.ndim - 1)),) * 2, ((), ())
    products = [jax.lax.dot_general(part, dy, over_all, preferred_element_type=compute_dtype(x)) for part in slices]
    return jnp.stack(products).reshape((*kernel_size, *products[0].shape))


# Of depthwise convolutions.


def is_by_channel(kernel_shape: tuple[int, ...], geometry: Geometry) -> bool:
    """Say whether each output channel sees one input channel or each input channel one output channel, by few taps."""
    *kernel_size, fan_in, out = kernel_shape
    depthwise = geometry.groups > 1 and (fan_in == 1 or out == geometry.groups)
    steps_one_way = max(geometry.stride) == 1 or max(geometry.input_dilation) == 1
    return depthwise and steps_one_way and window_size(kernel_size) <= MOST_TAPS


def repeat_channels(x: Array, channels: int) -> Array:
    """Repeat each channel, the last axis, so that there are `channels`."""
    multiplier = channels // x.shape[-1]
    return jnp.repeat(x, multiplier, axis=-1) if multiplier > 1 else x


def _by_channel(x: Array, dy: Array, kernel_size: tuple[int, ...], geometry: Geometry) -> Array:
    at_once = _images_at_once(x, math.prod(dy.shape), _IN_CACHE_BY_CHANNEL)
    return _in_parts(_sums_by_channel, at_once, x, dy, kernel_size, geometry)


def _sums_by_channel(x: Array, dy: Array, kernel_size: tuple[int, ...], geometry: Geometry) -> Array:
    """For each tap the sum of what it sees times the result's gradient."""
    wide, out = compute_dtype(x), dy.shape[-1]
    padded = pad_spatial(x.astype(wide), geometry.padding, 0)
    rows = dy.astype(wide).reshape(-1, out)
    slices = window_slices(padded, kernel_size, geometry.stride, geometry.dilation)
    ones = jnp.ones(rows.shape[0], wide)  # a product with ones is a faster sum here than XLA's own
    sums = [ones @ (repeat_channels(part, out).reshape(-1, out) * rows) for part in slices]
    return jnp.stack(sums).reshape(*kernel_size, 1, out)
