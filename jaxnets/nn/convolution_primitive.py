"""Convolution on CPU as a JAX primitive: bilinear, with the gradients and the batching that are fast there.

A primitive keeps its two arguments for the backward pass and nothing else; a derivative that JAX builds from other
functions would keep what those compute from them, such as shifted copies of the input, once for every layer.
"""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.experimental.xla_metadata import set_xla_metadata
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from jaxnets.nn.convolution_maps import (
    Geometry,
    correlate,
    exchange_channels,
    input_gradient,
    kernel_gradient,
    transposed,
)
from jaxnets.nn.depthwise_convolution import depthwise_convolve, depthwise_kernel_gradient, is_depthwise
from jaxnets.nn.onednn_convolution import call_onednn, can_call_onednn
from jaxnets.types import Array

Form = Literal["slices", "onednn", "lax"]


def bind_convolution(x: Array, kernel: Array, geometry: Geometry, form: Form | None = None) -> Array:
    """Convolve by the primitive, in the given form or the one that is fastest."""
    y: Array = _convolution_p.bind(x, kernel, geometry=geometry, form=form or _fastest(x, kernel, geometry))
    return y


def _fastest(x: Array, kernel: Array, geometry: Geometry) -> Form:
    if is_depthwise(geometry, kernel):
        return "slices"
    return "onednn" if can_call_onednn(x, kernel, geometry) else "lax"


def _evaluate(x: Array, kernel: Array, *, geometry: Geometry, form: Form) -> Array:
    return {"slices": depthwise_convolve, "onednn": call_onednn, "lax": correlate}[form](x, kernel, geometry)


def _evaluate_elsewhere(x: Array, kernel: Array, *, geometry: Geometry, form: Form) -> Array:
    """What was traced on a CPU and is compiled for another platform, which knows no oneDNN."""
    return correlate(x, kernel, geometry)


def _gradient_of_input(dy: Array, x: Any, kernel: Array, *, geometry: Geometry, form: Form) -> Array:
    if max(geometry.stride) == 1:
        exchanged, backward = exchange_channels(kernel, geometry), transposed(geometry)
        if form != "slices" or kernel.shape[-1] == geometry.groups:
            onednn = can_call_onednn(dy, exchanged, backward)
            return bind_convolution(dy, exchanged, backward, "onednn" if onednn else None)
    if form != "slices":
        return input_gradient(dy, kernel, geometry)
    dx: Array = jax.linear_transpose(lambda x: depthwise_convolve(x, kernel, geometry), x.aval)(dy)[0]
    return dx


def _gradient_of_kernel(dy: Array, x: Array, kernel: Any, *, geometry: Geometry, form: Form) -> Array:
    if form == "slices":
        return depthwise_kernel_gradient(x, dy, geometry)
    # were this inlined, XLA would compute what made x and dy again while it transposes them, in the wrong order
    with set_xla_metadata(inlineable="false"):
        result: Array = jax.jit(kernel_gradient, static_argnums=2)(x, dy, geometry)
    return result


def _batch(args: tuple[Array, Array], axes: tuple[Any, Any], *, geometry: Geometry, form: Form) -> tuple[Array, int]:
    """Fold the new axis into the batch or the output channels; else convolve one after the other."""
    (x, kernel), (x_axis, kernel_axis) = args, axes
    if kernel_axis is None:
        x = jnp.moveaxis(x, x_axis, 0)
        y = bind_convolution(x.reshape(-1, *x.shape[2:]), kernel, geometry, form)
        return y.reshape(*x.shape[:2], *y.shape[1:]), 0
    if x_axis is None and geometry.groups == 1:
        kernel = jnp.moveaxis(kernel, kernel_axis, -2)
        y = bind_convolution(x, kernel.reshape(*kernel.shape[:-2], -1), geometry, form)
        return y.reshape(*y.shape[:-1], *kernel.shape[-2:]), y.ndim - 1
    kernels = jnp.moveaxis(kernel, kernel_axis, 0)
    if x_axis is None:
        return jax.lax.map(lambda one: bind_convolution(x, one, geometry, form), kernels), 0
    pairs = (jnp.moveaxis(x, x_axis, 0), kernels)
    return jax.lax.map(lambda pair: bind_convolution(pair[0], pair[1], geometry, form), pairs), 0


def _result(x: Any, kernel: Any, *, geometry: Geometry, form: Form) -> Any:
    return jax.core.ShapedArray((x.shape[0], *geometry.output_sizes, kernel.shape[-1]), x.dtype)


_convolution_p = Primitive("convolution_on_cpu")
_convolution_p.def_impl(jax.jit(_evaluate, static_argnames=("geometry", "form")))
_convolution_p.def_abstract_eval(_result)
ad.defbilinear(_convolution_p, _gradient_of_input, _gradient_of_kernel)
batching.primitive_batchers[_convolution_p] = _batch
mlir.register_lowering(_convolution_p, mlir.lower_fun(_evaluate_elsewhere, multiple_results=False))
mlir.register_lowering(_convolution_p, mlir.lower_fun(_evaluate, multiple_results=False), platform="cpu")
