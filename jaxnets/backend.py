"""Which form of a layer to trace: the fast one for the backend at hand, or the plain one.

Fast forms compute the same function as the plain ones and allow the same JAX transformations (but for cuDNN attention,
which has no forward mode and no second derivatives). Environment variables:

- `JAXNETS_PLAIN`: names of fast forms to switch off, separated by commas (`convolution,pooling`), or `all`.
- `JAXNETS_PLATFORM`: `cpu`, `gpu` or `tpu`, when tracing for another platform than the default one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

import jax

from jaxnets.types import Array

FAST_PATHS = (
    "attention",
    "convolution",
    "embedding",
    "gru",
    "init",
    "lstm",
    "onednn",
    "pooling",
    "recompute",
    "repeat",
    "simple_rnn",
    "small_product",
)
"""The names that `JAXNETS_PLAIN` accepts."""

_PLATFORMS = {"cpu": "cpu", "gpu": "gpu", "cuda": "gpu", "rocm": "gpu", "tpu": "tpu"}


def platform() -> str:
    """Return `"cpu"`, `"gpu"` or `"tpu"`: where a function traced now will run.

    The environment variable `JAXNETS_PLATFORM` if set, else the platform of `jax.default_device`, else JAX's default
    backend.

    Raises:
        ValueError: if `JAXNETS_PLATFORM` is set to something else.

    Example:
        >>> platform() in ("cpu", "gpu", "tpu")
        True
    """
    chosen = os.environ.get("JAXNETS_PLATFORM")
    if chosen is not None:
        if chosen not in _PLATFORMS:
            raise ValueError(f"JAXNETS_PLATFORM must be one of {sorted(_PLATFORMS)}, got {chosen!r}")
        return _PLATFORMS[chosen]
    device = getattr(jax.config, "jax_default_device", None)
    name = device if isinstance(device, str) else jax.default_backend() if device is None else device.platform
    return _PLATFORMS.get(name, name)


def fast_path(name: str, *platforms: str) -> bool:
    """Say whether the fast form `name`, which exists on `platforms`, is to be used in a function traced now.

    Raises:
        ValueError: if `JAXNETS_PLAIN` holds a name that no fast form has.

    Example:
        >>> fast_path("convolution", "no such platform")
        False
    """
    plain = {word.strip() for word in os.environ.get("JAXNETS_PLAIN", "").split(",")} - {""}
    unknown = plain - {*FAST_PATHS, "all"}
    if unknown:
        raise ValueError(f"JAXNETS_PLAIN may hold {', '.join(FAST_PATHS)} or all, got {sorted(unknown)}")
    return platform() in platforms and not plain & {name, "all"}


def types_carry_sharding(*arrays: Array) -> bool:
    """Say whether array types carry shardings here, as inside `jax.shard_map` and with explicit meshes.

    Fast forms with derivatives of their own are left out there: `jax.linear_transpose` knows only shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> types_carry_sharding(jnp.ones(3))
        False
    """
    meshes = [jax.sharding.get_abstract_mesh(), *(jax.typeof(array).sharding.mesh for array in arrays)]
    return any(kind != jax.sharding.AxisType.Auto for mesh in meshes for kind in mesh.axis_types)


@contextlib.contextmanager
def plain_forms() -> Iterator[None]:
    """Trace plain forms inside, as with `JAXNETS_PLAIN=all`: they are what the maths says, and what to count.

    Example:
        >>> with plain_forms():
        ...     fast_path("convolution", platform())
        False
    """
    before = os.environ.get("JAXNETS_PLAIN")
    os.environ["JAXNETS_PLAIN"] = "all"
    try:
        yield
    finally:
        if before is None:
            del os.environ["JAXNETS_PLAIN"]
        else:
            os.environ["JAXNETS_PLAIN"] = before
