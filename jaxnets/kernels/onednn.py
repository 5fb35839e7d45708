"""Convolution by oneDNN, the library that jaxlib for Linux on x86-64 contains.

jaxlib's compiler does not send convolutions to oneDNN by itself, but it accepts calls of it: the custom call
`__onednn$convolution` with the settings of a forward convolution. It runs 1.1 to 3 times as fast as XLA's own routine,
also inside of loops. As the call is not documented, it is used only with versions of jaxlib that it was tested with,
and after a small convolution has come out right. A program that contains it cannot be exported or written to JAX's
compilation cache, so a program to be exported is lowered without it, and all are while that cache is on.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import platform
import sys
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.backend import fast_path
from jaxnets.nn.window import Geometry
from jaxnets.types import Array

_LOGGER = logging.getLogger("jaxnets")
_TESTED = ("0.10", "0.11", "0.12")
"""Versions of jaxlib whose call takes the settings as they are written here."""
_TARGET = "__onednn$convolution"
_FEWEST = 2**17
"""For fewer multiplications the call itself, of some microseconds, takes longer than XLA's own code."""


def can_call_onednn(context: Any, x: Any, kernel: Any, geometry: Geometry) -> bool:
    """Say whether oneDNN is to compute this convolution in the program that is being lowered.

    Args:
        context: JAX's context of the lowering.
        x: type of the input.
        kernel: type of the kernel.
        geometry: of the convolution.
    """
    plain = max(geometry.input_dilation) == 1 and min(min(pair) for pair in geometry.padding) >= 0
    positions = geometry.output_sizes(x.shape[1:-1], kernel.shape[:-2])
    return (
        plain
        and max(positions) > 1  # from jaxlib 0.11 on, results of one number an example are wrong
        and x.dtype == kernel.dtype == jnp.float32
        and fast_path("onednn", "cpu")
        and _is_for_one_device_and_not_stored(context.module_context)
        and x.size > 0 < kernel.size
        and x.shape[0] * math.prod((*positions, *kernel.shape)) >= _FEWEST
        and onednn_available()
    )


def _is_for_one_device_and_not_stored(program: Any) -> bool:
    # a partitioner cannot look into the call, and would give all of its arrays to every device
    one_device = getattr(program.axis_context, "num_devices", None) == 1
    exported = program.lowering_parameters.for_export
    return one_device and not exported and not getattr(jax.config, "jax_compilation_cache_dir", None)


@functools.cache
def onednn_available() -> bool:
    """Say whether the installed jaxlib convolves by oneDNN, and rightly.

    Example:
        >>> onednn_available() in (True, False)
        True
    """
    major_and_minor = ".".join(version("jaxlib").split(".")[:2])
    if major_and_minor not in _TESTED or sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    x, kernel = np.arange(10, dtype=np.float32).reshape(1, 5, 2), np.arange(6, dtype=np.float32).reshape(3, 2, 1)
    expected = np.array([np.vdot(x[0, i : i + 3], kernel[..., 0]) for i in range(3)])
    geometry = Geometry(stride=(1,), padding=((0, 0),), dilation=(1,), input_dilation=(1,))
    try:
        with jax.ensure_compile_time_eval(), jax.default_device(jax.local_devices(backend="cpu")[0]):
            found = np.asarray(jax.jit(call_onednn, static_argnums=2)(x, kernel, geometry)).ravel()
    except (jax.errors.JaxRuntimeError, NotImplementedError) as error:
        _LOGGER.info("jaxnets convolves without oneDNN: %s", error)
        return False
    return np.array_equal(found, expected)


def call_onednn(x: Array, kernel: Array, geometry: Geometry) -> Array:
    """Convolve by the custom call; its settings have oneDNN's names, and axes are counted from 0."""
    rank = x.ndim - 2
    layout = {"data": {"batch_dim": 0, "feature_dim": rank + 1, "spatial_dims": list(range(1, rank + 1))}}
    kernel_layout = {"input_feature_dim": rank, "output_feature_dim": rank + 1, "spatial_dims": list(range(rank))}
    settings = {
        "dims": rank + 2,
        "feature_groups": geometry.groups,
        "input": layout,
        "kernel": {"filter": kernel_layout},
        "output": layout,
        "window": {
            "pad_left": [before for before, _ in geometry.padding],
            "pad_right": [after for _, after in geometry.padding],
            "strides": geometry.stride,
            "window_dilations": geometry.dilation,
        },
    }
    positions = geometry.output_sizes(x.shape[1:-1], kernel.shape[:-2])
    result = jax.ShapeDtypeStruct((x.shape[0], *positions, kernel.shape[-1]), x.dtype)
    config = json.dumps({"onednn_conv_config": settings})
    call = jax.ffi.ffi_call(_TARGET, result, custom_call_api_version=2, legacy_backend_config=config)
    y: Array = call(x, kernel)
    return y
