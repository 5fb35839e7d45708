"""oneDNN's convolutions as calls of XLA on CPU; `jaxnets` finds and calls them where this package is installed."""

from __future__ import annotations

import ctypes
import functools
from importlib.metadata import files
from pathlib import Path

import jax

TARGETS = ("jaxnets_forward", "jaxnets_input_gradient", "jaxnets_kernel_gradient")
"""The names of the calls, which are registered on import."""


def _load() -> ctypes.CDLL:
    library = next(path for path in files("onednn-cpu-gomp") or [] if path.name == "libdnnl.so.3")
    ctypes.CDLL(str(Path(str(library.locate())).resolve()))  # now the linker finds it under its name
    (kernels,) = Path(__file__).parent.glob("kernels.*.so")
    return ctypes.CDLL(str(kernels))


_KERNELS = _load()
for _name in TARGETS:
    jax.ffi.register_ffi_target(_name, jax.ffi.pycapsule(getattr(_KERNELS, _name)), platform="cpu")


@functools.cache
def routine(kind: int, rank: int, sizes: tuple[int, ...], groups: int) -> str:
    """Return the name of oneDNN's routine for a convolution; nothing if it has none.

    Args:
        kind: 0 for the forward pass, 1 for the gradient of the input, 2 for that of the kernel.
        rank: the number of spatial axes.
        sizes: those of the input, the kernel and the result, then stride, padding before and after, and dilation.
        groups: of channels.
    """
    name = ctypes.create_string_buffer(128)
    numbers = (ctypes.c_int64 * len(sizes))(*sizes)
    _KERNELS.jaxnets_routine(
        ctypes.c_int64(kind), ctypes.c_int64(rank), numbers, ctypes.c_int64(groups), name, ctypes.c_int64(len(name))
    )
    return name.value.decode()
