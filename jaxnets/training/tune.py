"""What makes training on CPU fast: the C library's allocator and XLA's compiler options.

XLA allocates its temporary memory afresh at every call. With glibc's defaults large blocks go back to the operating
system each time, and the page faults that follow take up to half of a training step. Keeping freed memory in the
process removes them. The most is freed while a program is compiled, and in heaps that steps do not use, so freed
memory goes back before and after a large program is compiled. `JAXNETS_TUNE=0` in the environment, read when this
module is imported, turns everything in this file off.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import math
import os
import platform as system_platform

import jax

from jaxnets import backend
from jaxnets.compiler import known_options

_LOGGER = logging.getLogger("jaxnets")
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_LARGE_PROGRAM = {
    "/jax/core/compile/jaxpr_to_mlir_module_duration": 0.04,
    "/jax/core/compile/backend_compile_duration": 0.5,
}
"""JAX's events right before and right after XLA compiles, and from how many seconds on a program is large."""
_ENABLED = os.environ.get("JAXNETS_TUNE", "1") != "0"
_YNN_FUSION = "xla_cpu_experimental_ynn_fusion_type"


def tuning_enabled() -> bool:
    """Say whether `JAXNETS_TUNE` left the tuning on when jaxnets was imported, as it is by default.

    Example:
        >>> isinstance(tuning_enabled(), bool)
        True
    """
    return _ENABLED


@functools.cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory in the process; done once.

    `compile_step`, `pmap_step` and `fit` call it. Call it yourself where you compile training steps by `jax.jit`, or
    run large models without training them.

    Returns:
        True if it was done: on Linux with glibc, when `JAXNETS_TUNE` is not 0 and JAX was not told to use other
        platforms than the CPU.

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    platforms = str(getattr(jax.config, "jax_platforms", None) or "").split(",")
    other_platform = bool(platforms[0]) and "cpu" not in platforms
    if not tuning_enabled() or other_platform or system_platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    done = bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
    jax.monitoring.register_event_duration_secs_listener(_give_back_around_compilation)
    _LOGGER.info("jaxnets keeps freed memory in the process (glibc); JAXNETS_TUNE=0 turns this off")
    return done


def _give_back_around_compilation(event: str, duration_secs: float, **_: str | int) -> None:
    if duration_secs > _LARGE_PROGRAM.get(event, math.inf):
        ctypes.CDLL(None).malloc_trim(0)


@functools.cache
def compiler_options() -> dict[str, str | bool] | None:
    """Return the options for `jax.jit` that make training faster on this backend, or None.

    On CPU, jaxlib 0.10 and later send float32 convolutions to a library that is slower for them than XLA's own code;
    products stay with that library. The option is left out where the installed jaxlib does not know it.

    Example:
        >>> options = compiler_options()
        >>> options is None or all(name.startswith("xla_cpu") for name in options)
        True
    """
    if backend.platform() != "cpu" or not tuning_enabled():
        return None
    return known_options(**{_YNN_FUSION: "LIBRARY_FUSION_TYPE_DOT,LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}) or None
