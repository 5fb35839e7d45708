"""Which form of a layer to trace: the fast one for the backend at hand, or the plain one.

Fast forms compute the same function as the plain ones and allow the same JAX transformations (but for cuDNN attention,
which has no forward mode and no second derivatives). The choice depends on the arguments and on what JAX's caches know:
the devices, and the contexts `plain_forms` and `trace_for`. Two environment variables, read once, when this module is
imported, say the same for a whole process:

- `JAXNETS_PLAIN`: names of fast forms to switch off, separated by commas (`convolution,pooling`), or `all`.
- `JAXNETS_PLATFORM`: `cpu`, `gpu` or `tpu`, when the process traces for another platform than the default one.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

import jax

from jaxnets.types import Array

FAST_PATHS = (
    "attention",
    "attention_blocks",
    "convolution",
    "embedding",
    "gelu",
    "init",
    "jaxnets_cpu",
    "kernel_gradient",
    "onednn",
    "pooling",
    "recompute",
    "repeat",
    "rows",
    "small_product",
)
"""The names that `plain_forms` and `JAXNETS_PLAIN` accept."""

_PLATFORMS = {"cpu": "cpu", "gpu": "gpu", "cuda": "gpu", "rocm": "gpu", "tpu": "tpu"}


def plain_names(text: str) -> frozenset[str]:
    """Return the names of fast forms in a text such as `JAXNETS_PLAIN`.

    Raises:
        ValueError: if no fast form has one of the names.

    Example:
        >>> sorted(plain_names("pooling, convolution"))
        ['convolution', 'pooling']
    """
    names = frozenset(word.strip() for word in text.split(",")) - {""}
    unknown = names - {*FAST_PATHS, "all"}
    if unknown:
        raise ValueError(f"the fast forms are {', '.join(FAST_PATHS)}, or all of them: all; got {sorted(unknown)}")
    return frozenset(FAST_PATHS) if "all" in names else names


def platform_name(text: str) -> str:
    """Return `"cpu"`, `"gpu"` or `"tpu"` for the name that JAX or a user has for it.

    Raises:
        ValueError: if it is none of the names of these platforms.

    Example:
        >>> platform_name("cuda")
        'gpu'
    """
    if text not in _PLATFORMS:
        raise ValueError(f"the platform must be one of {sorted(_PLATFORMS)}, got {text!r}")
    return _PLATFORMS[text]


# JAX's caches of traced functions do not know the environment, so it is read once. They do know these contexts.
_PLAIN = jax.make_user_context(plain_names(os.environ.get("JAXNETS_PLAIN", "")))
_PLATFORM = jax.make_user_context(
    platform_name(os.environ["JAXNETS_PLATFORM"]) if "JAXNETS_PLATFORM" in os.environ else None
)


def plain_forms(names: str = "all") -> AbstractContextManager[None]:
    """Trace layers in their plain forms within a `with` block, for tools that know JAX's own primitives only.

    Functions that are compiled already are traced anew within the block, and are as before after it.

    Args:
        names: of fast forms to switch off, separated by commas; see `FAST_PATHS`. All others are switched on.

    Raises:
        ValueError: if no fast form has one of the names.

    Example:
        >>> from jaxnets import nn
        >>> x, params = jax.numpy.ones((1, 8, 8, 1)), {"kernel": jax.numpy.ones((3, 3, 1, 1))}
        >>> with plain_forms("convolution"):
        ...     "conv_general_dilated" in str(jax.make_jaxpr(nn.conv)(params, x))
        True
    """
    context: AbstractContextManager[None] = _PLAIN(plain_names(names))
    return context


def plain_too(names: str) -> AbstractContextManager[None]:
    """Trace layers without these fast forms within a `with` block, and without those that are switched off already.

    Args:
        names: of fast forms, separated by commas; see `FAST_PATHS`.

    Raises:
        ValueError: if no fast form has one of the names.

    Example:
        >>> with plain_forms("pooling"), plain_too("convolution"):
        ...     fast_path("pooling", platform()), fast_path("convolution", platform())
        (False, False)
    """
    context: AbstractContextManager[None] = _PLAIN(_PLAIN.value | plain_names(names))
    return context


def trace_for(name: str) -> AbstractContextManager[None]:
    """Trace layers in their forms for another platform than the default one within a `with` block.

    Args:
        name: of the platform: `"cpu"`, `"gpu"` or `"tpu"`.

    Raises:
        ValueError: if it is none of the names of these platforms.

    Example:
        >>> with trace_for("tpu"):
        ...     platform()
        'tpu'
    """
    context: AbstractContextManager[None] = _PLATFORM(platform_name(name))
    return context


def platform() -> str:
    """Return `"cpu"`, `"gpu"` or `"tpu"`: where a function traced now will run.

    It is what `trace_for` or `JAXNETS_PLATFORM` says, else the platform of `jax.default_device`, else JAX's default
    backend.

    Example:
        >>> platform() in ("cpu", "gpu", "tpu")
        True
    """
    chosen: str | None = _PLATFORM.value
    if chosen is not None:
        return chosen
    device = getattr(jax.config, "jax_default_device", None)
    name = device if isinstance(device, str) else jax.default_backend() if device is None else device.platform
    return _PLATFORMS.get(name, name)


def fast_path(name: str, *platforms: str) -> bool:
    """Say whether the fast form `name`, which exists on `platforms`, is to be used in a function traced now.

    Example:
        >>> fast_path("convolution", "no such platform")
        False
    """
    return platform() in platforms and name not in _PLAIN.value


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
