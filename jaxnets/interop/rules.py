"""Shared by both Flax wrappers: dtypes and checks of structure."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.types import DTypeLike, PyTree


def cast_params(params: PyTree, dtype: DTypeLike) -> PyTree:
    """Cast float32 arrays, Flax's default, to the requested dtype.

    All are copies: a training step donates its buffers, and a module keeps its own.
    """
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype if leaf.dtype == jnp.float32 else leaf.dtype), params)


def cast_state(state: PyTree, dtype: DTypeLike) -> PyTree:
    """Cast float32 state to float64 if the params are float64, otherwise keep it float32."""
    return cast_params(state, dtype if jnp.dtype(dtype) == jnp.float64 else jnp.float32)


def check_structure(function: str, what: str, tree: PyTree, expected: PyTree) -> None:
    """Raise ValueError unless a tree has the structure of another; the error names the paths that differ."""
    structure: Any = jax.tree.structure(tree)
    if structure == jax.tree.structure(expected):
        return
    found, wanted = (
        {
            jax.tree_util.keystr(path, simple=True, separator="/")
            for path, _ in jax.tree_util.tree_leaves_with_path(node)
        }
        for node in (tree, expected)
    )
    raise ValueError(
        f"{function}: {what} must have the structure that init returns; missing {sorted(wanted - found)}, "
        f"unexpected {sorted(found - wanted)}"
    )
