"""Convolution by the package `jaxnets-cpu`, compiled code that calls oneDNN, where that package is installed.

It has what jaxlib's own oneDNN cannot be asked for (`jaxnets.kernels.onednn`): the gradient of the kernel and of the
input of a convolution with strides, and depthwise convolution. It computes on XLA's threads.
"""

from __future__ import annotations

import enum
import functools
import logging
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.backend import fast_path
from jaxnets.nn.window import Geometry, transposed_kernel
from jaxnets.types import Array

_LOGGER = logging.getLogger("jaxnets")


class Kind(enum.IntEnum):
    """What is computed, by the numbers that the package has for it."""

    FORWARD = 0
    INPUT_GRADIENT = 1
    KERNEL_GRADIENT = 2


def use_compiled(*arrays: Any) -> bool:
    """Say whether the package is installed and computes with arrays of these types, in a function traced now."""
    is_float32 = all(array.dtype == jnp.float32 and array.size > 0 for array in arrays)
    return is_float32 and fast_path("jaxnets_cpu", "cpu") and compiled_available()


@functools.cache
def compiled_available() -> bool:
    """Say whether the package `jaxnets-cpu` is installed and works.

    Example:
        >>> compiled_available() in (True, False)
        True
    """
    try:
        _register_calls()
    except ModuleNotFoundError:
        return False
    except OSError as error:
        _LOGGER.warning("jaxnets convolves without the package jaxnets-cpu, which cannot be loaded: %s", error)
        return False
    return True


def _register_calls() -> None:
    import jaxnets_cpu  # noqa: F401


def can_call(context: Any, kind: Kind, x: Any, kernel: Any, geometry: Geometry) -> bool:
    """Say whether the package is to compute this convolution in the program that is being lowered.

    Args:
        context: JAX's context of the lowering.
        kind: what is computed.
        x: the shape of the input.
        kernel: the shape of the kernel.
        geometry: of the convolution.
    """
    program = context.module_context
    # a partitioner cannot look into the call, and an exported program may run where the package is not installed
    one_device = getattr(program.axis_context, "num_devices", None) == 1
    if not one_device or program.lowering_parameters.for_export or not use_compiled(*context.avals_in):
        return False
    return _has_fast_routine(kind, tuple(x), tuple(kernel), geometry)


def _forward_of(kind: Kind, x: Any, kernel: Any, geometry: Geometry) -> tuple[Kind, Any, Any, Geometry]:
    """Describe a convolution of a dilated input as the gradient of the input that it is."""
    if max(geometry.input_dilation) == 1:
        return kind, x, kernel, geometry
    *kernel_size, fan_in, out = kernel
    sizes = geometry.output_sizes(x[1:-1], kernel_size)
    forward = geometry.transposed(x[1:-1], kernel_size)
    groups = geometry.groups
    return Kind.INPUT_GRADIENT, (x[0], *sizes, out), (*kernel_size, out // groups, fan_in * groups), forward


@functools.cache
def _has_fast_routine(kind: Kind, x: tuple[int, ...], kernel: tuple[int, ...], geometry: Geometry) -> bool:
    import jaxnets_cpu

    if kind == Kind.KERNEL_GRADIENT and max(geometry.input_dilation) > 1:
        return False
    kind, x, kernel, geometry = _forward_of(kind, x, kernel, geometry)
    if max(geometry.input_dilation) > 1 or min(min(pair) for pair in geometry.padding) < 0:
        return False
    y = (x[0], *geometry.output_sizes(x[1:-1], kernel[:-2]), kernel[-1])
    before, after = zip(*geometry.padding, strict=True)
    sizes = (*x, *kernel, *y, *geometry.stride, *before, *after, *geometry.dilation)
    name: str = jaxnets_cpu.routine(int(kind), len(geometry.stride), sizes, geometry.groups)
    return name.startswith(("jit", "brg"))  # what has no routine of its own is computed by one loop for all settings


def call_forward(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve `[batch, *spatial, in]` with `[*kernel_size, in / groups, out]`."""
    kind, x_shape, _, forward = _forward_of(Kind.FORWARD, x.shape, kernel.shape, geometry)
    if kind == Kind.INPUT_GRADIENT:
        return _call("jaxnets_input_gradient", x, transposed_kernel(kernel, geometry.groups), x_shape, forward)
    positions = geometry.output_sizes(x.shape[1:-1], kernel.shape[:-2])
    return _call("jaxnets_forward", x, kernel, (x.shape[0], *positions, kernel.shape[-1]), geometry)


def call_kernel_gradient(x: Array, dy: Array, kernel_shape: tuple[int, ...], geometry: Geometry) -> Array:
    """Compute the gradient of the kernel from the input and the gradient of the result."""
    return _call("jaxnets_kernel_gradient", x, dy, kernel_shape, geometry)


def _call(target: str, a: Array, b: Array, shape: tuple[int, ...], geometry: Geometry) -> Array:
    before, after = zip(*geometry.padding, strict=True)
    lists = {"stride": geometry.stride, "before": before, "after": after, "dilation": geometry.dilation}
    settings = {name: np.asarray(numbers, np.int64) for name, numbers in lists.items()}
    call = jax.ffi.ffi_call(target, jax.ShapeDtypeStruct(shape, a.dtype))
    y: Array = call(a, b, **settings, groups=np.int64(geometry.groups))
    return y
