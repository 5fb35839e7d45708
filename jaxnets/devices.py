"""Over which devices arrays vary inside `jax.shard_map`, which checks that by their types unless told not to.

Elsewhere, under `jax.pmap` and `jax.vmap` too, types do not say it, and these functions change nothing.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.types import Array


def varying_axes(x: Any) -> frozenset[Any]:
    """Return the axes of devices over which `x` varies; their attribute depends on the version of JAX.

    Example:
        >>> varying_axes(jnp.ones(3))
        frozenset()
    """
    kind: Any = jax.typeof(x)
    return frozenset(kind.vma if hasattr(kind, "vma") else kind.mat.varying if hasattr(kind, "mat") else ())


def vary_like(x: Array, *trees: Any) -> Array:
    """Make `x` vary over the axes of devices over which `trees` vary, so a scan can carry it.

    Gradients of an array that is the same on all devices are added up over them; those of the result are each device's.
    """
    axes = frozenset().union(*map(varying_axes, jax.tree.leaves(trees))) - varying_axes(x)
    if not axes:
        return x
    if hasattr(jax.lax, "pcast"):
        varying: Array = jax.lax.pcast(x, tuple(axes), to="varying")
    else:
        varying = jax.lax.pvary(x, tuple(axes))  # type: ignore[attr-defined, unused-ignore]  # its name in jax 0.7
    return varying


def vary_together(tree: Any, *others: Any) -> Any:
    """Make all arrays of a tree vary over the axes over which any of them, or of the others, varies: a loop's carry.

    Example:
        >>> vary_together({"n": jnp.zeros(()), "x": jnp.ones(3)})["x"]
        Array([1., 1., 1.], dtype=float32)
    """
    return jax.tree.map(lambda leaf: vary_like(leaf, tree, others), tree)


def same_on_all(x: Array, axis_name: str) -> Array:
    """Return an array with the same values on all devices as one whose type says so."""
    same: Array = jax.lax.pmax(x, axis_name) if axis_name in varying_axes(x) else x
    return same


def gather(x: Array, axis_name: str) -> Array:
    """Return the arrays of all devices, stacked along a new first axis, as one whose type says it is the same on all.

    Example:
        >>> jax.vmap(lambda x: gather(x, "devices"), axis_name="devices")(jnp.array([1.0, 2.0]))[0]
        Array([1., 2.], dtype=float32)
    """
    if axis_name not in varying_axes(x):
        types_tell = axis_name in varying_axes(jax.lax.axis_index(axis_name))
        if types_tell:
            return jnp.broadcast_to(x[None], (jax.lax.axis_size(axis_name), *x.shape))
        gathered: Array = jax.lax.all_gather(x, axis_name)
        return gathered
    own = jnp.zeros((jax.lax.axis_size(axis_name), *x.shape), x.dtype).at[jax.lax.axis_index(axis_name)].set(x)
    summed: Array = jax.lax.psum(own, axis_name)
    return summed
