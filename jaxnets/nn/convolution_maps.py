"""A convolution as a function of arrays, and its two gradients, in the layout that is fast on CPU.

A convolution y = conv(x, kernel) is linear in each argument, so it comes with two more maps, both convolutions too:

    input_gradient (dy, kernel): the convolution of dy, dilated by the stride, with the flipped and transposed kernel
    kernel_gradient(x, dy):      the convolution of x with dy, batch and channels exchanged

XLA's CPU backend has a fast routine for convolutions whose arrays are laid out [batch, *spatial, channels] and
[*window, in, out]; all maps here are written in that layout.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxnets.nn.window import output_sizes, span
from jaxnets.types import Array


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
        return output_sizes(*self[:5])


Map = Callable[[Array, Array, Geometry], Array]


def correlate(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve by `lax`, with the gradients that JAX derives."""
    return _canonical(x, kernel, geometry.stride, geometry.padding, geometry.dilation, geometry.groups)


def input_gradient(dy: Array, kernel: Array, geometry: Geometry) -> Array:
    """Return the gradient of `vdot(dy, correlate(x, kernel))` with respect to `x`."""
    padding = []
    for size, width, step, (before, _), gap, positions in zip(*geometry[:5], geometry.output_sizes, strict=True):
        padding.append((span(width, gap) - 1 - before, size - 1 + before - (positions - 1) * step))
    ones = (1,) * len(geometry.window)
    exchanged = exchange_channels(kernel, geometry)
    return _canonical(dy, exchanged, ones, tuple(padding), geometry.dilation, geometry.groups, geometry.stride)


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


def transposed(geometry: Geometry) -> Geometry:
    """The geometry of the input gradient of a convolution of stride 1."""
    padding = []
    for width, (before, after), gap in zip(geometry.window, geometry.padding, geometry.dilation, strict=True):
        padding.append((span(width, gap) - 1 - before, span(width, gap) - 1 - after))
    return geometry._replace(input_sizes=geometry.output_sizes, padding=tuple(padding))


def exchange_channels(kernel: Array, geometry: Geometry) -> Array:
    """Flip the window and exchange inputs and outputs of each group: the kernel of the input gradient."""
    groups, rank = geometry.groups, len(geometry.window)
    *window, fan_in, out = kernel.shape
    flipped = jnp.flip(kernel, range(rank)).reshape(*window, fan_in, groups, out // groups)
    return jnp.moveaxis(flipped, -1, rank).swapaxes(-1, -2).reshape(*window, out // groups, groups * fan_in)
