"""Which form of a layer to trace: the fast one for the backend at hand, or the plain one.

Fast forms compute the same function as the plain ones and allow the same JAX transformations (but for cuDNN attention,
which has no forward mode and no second derivatives). The choice depends on the arguments and on what JAX's caches know;
two environment variables, for debugging, are read once, when this module is imported:

- `JAXNETS_PLAIN`: names of fast forms to switch off, separated by commas (`convolution,pooling`), or `all`.
- `JAXNETS_PLATFORM`: `cpu`, `gpu` or `tpu`, when the process traces for another platform than the default one.
"""

from __future__ import annotations

import os

import jax

from jaxnets.types import Array

FAST_PATHS = (
    "attention",
    "convolution",
    "embedding",
    "init",
    "onednn",
    "pooling",
    "recompute",
    "repeat",
    "small_product",
)
"""The names that `JAXNETS_PLAIN` accepts."""

_PLATFORMS = {"cpu": "cpu", "gpu": "gpu", "cuda": "gpu", "rocm": "gpu", "tpu": "tpu"}


def plain_names(text: str) -> frozenset[str]:
    """Return the names that a value of `JAXNETS_PLAIN` holds.

    Raises:
        ValueError: if no fast form has one of the names.

    Example:
        >>> sorted(plain_names("pooling, convolution"))
        ['convolution', 'pooling']
    """
    names = frozenset(word.strip() for word in text.split(",")) - {""}
    unknown = names - {*FAST_PATHS, "all"}
    if unknown:
        raise ValueError(f"JAXNETS_PLAIN may hold {', '.join(FAST_PATHS)} or all, got {sorted(unknown)}")
    return frozenset(FAST_PATHS) if "all" in names else names


def platform_name(text: str) -> str:
    """Return `"cpu"`, `"gpu"` or `"tpu"` for a value of `JAXNETS_PLATFORM`.

    Raises:
        ValueError: if it is none of the names of these platforms.

    Example:
        >>> platform_name("cuda")
        'gpu'
    """
    if text not in _PLATFORMS:
        raise ValueError(f"JAXNETS_PLATFORM must be one of {sorted(_PLATFORMS)}, got {text!r}")
    return _PLATFORMS[text]


# Read once: JAX's caches of traced functions do not know the environment, so a form chosen by a variable that changes
# within the process would stay, or not, depending on what was traced before.
_PLAIN = plain_names(os.environ.get("JAXNETS_PLAIN", ""))
_PLATFORM = platform_name(os.environ["JAXNETS_PLATFORM"]) if "JAXNETS_PLATFORM" in os.environ else None


def platform() -> str:
    """Return `"cpu"`, `"gpu"` or `"tpu"`: where a function traced now will run.

    It is what `JAXNETS_PLATFORM` said when the process imported jaxnets, else the platform of `jax.default_device`
    (which JAX's caches of traced functions know), else JAX's default backend.

    Example:
        >>> platform() in ("cpu", "gpu", "tpu")
        True
    """
    if _PLATFORM is not None:
        return _PLATFORM
    device = getattr(jax.config, "jax_default_device", None)
    name = device if isinstance(device, str) else jax.default_backend() if device is None else device.platform
    return _PLATFORMS.get(name, name)


def fast_path(name: str, *platforms: str) -> bool:
    """Say whether the fast form `name`, which exists on `platforms`, is to be used in a function traced now.

    Example:
        >>> fast_path("convolution", "no such platform")
        False
    """
    return platform() in platforms and name not in _PLAIN


def types_carry_sharding(*arrays: Array) -> bool:
    """Say whether array types carry shardings here, as inside `jax.shard_map` and with explicit meshes.

    Fast forms with derivatives of their own are left out there: they know only shapes.

    Example:
        >>> import jax.numpy as jnp
        >>> types_carry_sharding(jnp.ones(3))
        False
    """
    meshes = [jax.sharding.get_abstract_mesh(), *(jax.typeof(array).sharding.mesh for array in arrays)]
    return any(kind != jax.sharding.AxisType.Auto for mesh in meshes for kind in mesh.axis_types)
