"""Depthwise convolution as sums over the taps of the window, and its gradients: the fast form on CPU.

XLA's own routine takes one channel after the other there. A sum of slices of the input, each times the numbers of one
tap, is a single loop for XLA.
"""

from __future__ import annotations

import functools

import jax.numpy as jnp

from jaxnets.nn.check import compute_dtype
from jaxnets.nn.convolution_maps import Geometry
from jaxnets.nn.window import pad_spatial, window_size, window_slices
from jaxnets.types import Array

_MOST_TAPS = 64
"""Up to this many taps; the time to compile a sum grows with them."""


def is_depthwise(geometry: Geometry, kernel: Array) -> bool:
    """Say whether each output channel sees one input channel, through a window that is not too large."""
    return geometry.groups > 1 and kernel.shape[-2] == 1 and window_size(geometry.window) <= _MOST_TAPS


def depthwise_convolve(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """For each tap of the window, what it sees times its number; `kernel` is `[*window, 1, channels * multiplier]`."""
    wide = compute_dtype(x)
    padded = pad_spatial(_repeat(x, kernel.shape[-1]).astype(wide), geometry.padding, 0)
    taps = kernel.astype(wide).reshape((-1,) + (1,) * (x.ndim - 1) + kernel.shape[-1:])
    slices = window_slices(padded, geometry.window, geometry.stride, geometry.dilation)
    terms = [part * tap for part, tap in zip(slices, taps, strict=True)]
    total: Array = functools.reduce(jnp.add, terms)
    return total.astype(x.dtype)


def depthwise_kernel_gradient(x: Array, dy: Array, geometry: Geometry) -> Array:
    """Return the gradient of `vdot(dy, depthwise_convolve(x, kernel))` with respect to the kernel."""
    wide, out = compute_dtype(x), dy.shape[-1]
    padded = pad_spatial(x.astype(wide), geometry.padding, 0)
    rows = dy.astype(wide).reshape(-1, out)
    slices = window_slices(padded, geometry.window, geometry.stride, geometry.dilation)
    ones = jnp.ones(len(rows), wide)  # a product with ones is a faster sum here than XLA's own
    sums = [ones @ (_repeat(part, out).reshape(-1, out) * rows) for part in slices]
    return jnp.stack(sums).reshape(*geometry.window, 1, out).astype(x.dtype)


def _repeat(x: Array, out: int) -> Array:
    multiplier = out // x.shape[-1]
    return jnp.repeat(x, multiplier, axis=-1) if multiplier > 1 else x
