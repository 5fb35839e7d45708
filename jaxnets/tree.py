"""Paths, sizes and fingerprints of trees of parameters."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.types import PyTree

__all__ = ["count", "differences", "fingerprint", "paths", "tree_bytes"]


def paths(tree: PyTree) -> dict[str, Any]:
    """Return the leaves of a tree by path: names and list indices joined by slashes.

    The order is JAX's: dicts by sorted key, lists by position.

    Args:
        tree: any tree.

    Returns:
        A dict such as `{"block/fc/kernel": leaf}`. A single leaf has the path `""`.

    Raises:
        ValueError: if two leaves have the same path because a name contains a slash.

    Example:
        >>> paths({"blocks": [{"kernel": 1}, {"kernel": 2}], "bias": 3})
        {'bias': 3, 'blocks/0/kernel': 1, 'blocks/1/kernel': 2}
    """
    found: dict[str, Any] = {}
    for key_path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        path = jax.tree_util.keystr(key_path, simple=True, separator="/")
        if path in found:
            raise ValueError(f"paths: two leaves have the path {path!r}; names must not contain slashes")
        found[path] = leaf
    return found


def is_below(path: str, above: str) -> bool:
    """Say whether a path is another one or continues it; `""` is the path of the whole tree.

    Example:
        >>> is_below("block/fc", "block"), is_below("block", "block"), is_below("block2", "block"), is_below("fc", "")
        (True, True, False, True)
    """
    return not above or f"{path}/".startswith(f"{above}/")


def differences(tree: PyTree, expected: PyTree) -> list[str]:
    """Describe how the arrays of a tree differ from those of another in paths, shapes and dtypes; values do not matter.

    Args:
        tree: any tree of arrays.
        expected: the tree that it should be like.

    Returns:
        One phrase for each array that differs, `[]` if none does and the containers are the same.

    Example:
        >>> differences({"mean": np.zeros(3)}, {"mean": np.zeros(4), "count": np.zeros(())})
        ["'count' is missing", "'mean' is float64[3] instead of float64[4]"]
    """
    structure: Any
    leaves, structure = jax.tree.flatten(tree)
    wanted_leaves, wanted_structure = jax.tree.flatten(expected)
    if structure == wanted_structure and all(map(_are_alike, leaves, wanted_leaves)):
        return []
    found = {path: describe(leaf) for path, leaf in paths(tree).items()}
    wanted = {path: describe(leaf) for path, leaf in paths(expected).items()}
    phrases = [f"{path!r} is missing" for path in wanted if path not in found]
    phrases += [f"{path!r} is not expected" for path in found if path not in wanted]
    both = [path for path in found if path in wanted and found[path] != wanted[path]]
    phrases += [f"{path!r} is {found[path]} instead of {wanted[path]}" for path in both]
    return phrases or [f"the arrays lie in other containers: {structure} instead of {wanted_structure}"]


def _are_alike(leaf: Any, other: Any) -> bool:
    if hasattr(leaf, "dtype") and hasattr(other, "dtype"):
        return bool(leaf.shape == other.shape and leaf.dtype == other.dtype)
    return describe(leaf) == describe(other)


def describe(value: Any) -> str:
    """Write dtype and shape of an array, or what else a value is, for the messages of errors.

    Example:
        >>> describe(np.zeros((2, 3), np.float32)), describe((1, 2)), describe(None)
        ('float32[2, 3]', 'a tuple of 2', 'None')
    """
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, dict):
        return f"a dict of {sorted(map(str, value))}"
    return repr(value) if value is None or isinstance(value, bool | int | float | str) else type(value).__name__


def count(tree: PyTree) -> int:
    """Count the entries of all arrays in a tree, such as the parameters of a network.

    Example:
        >>> count({"kernel": np.zeros((3, 2)), "bias": np.zeros(2)})
        8
    """
    return sum(math.prod(np.shape(leaf)) for leaf in jax.tree.leaves(tree))


def tree_bytes(tree: PyTree) -> int:
    """Count the bytes of all arrays in a tree, also of the shapes that `jax.eval_shape` returns.

    Example:
        >>> tree_bytes({"kernel": np.zeros((3, 2), np.float32), "bias": np.zeros(2, np.float16)})
        28
    """
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def fingerprint(params: PyTree) -> str:
    """Return the SHA-256 hash of all parameters: equal exactly when paths, dtypes, shapes and bits are.

    For each leaf in the order of `paths`, the hash includes the line `["path", "dtype", [shape]]` as JSON, a line feed,
    and the values in C order and little-endian. JAX and numpy arrays with the same content have the same hash, on any
    device. Typed PRNG keys have the dtype `key<name of the generator>` and the values of `jax.random.key_data`.

    Args:
        params: a tree of arrays.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: if a leaf is not an array of numbers, with its path.

    Example:
        >>> fingerprint({"bias": np.zeros(2, np.float32)})[:16]
        '6fc946aa1de62ffe'
    """
    digest = hashlib.sha256()
    for path, leaf in paths(params).items():
        if not hasattr(leaf, "dtype"):
            raise TypeError(f"fingerprint: {path!r} must be an array, got {type(leaf).__name__}")
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            dtype, array = f"key<{jax.random.key_impl(leaf)}>", np.asarray(jax.random.key_data(leaf))
        else:
            array = np.asarray(leaf)
            dtype = array.dtype.name
        if array.dtype.hasobject or array.dtype.kind in "USM":
            raise TypeError(f"fingerprint: {path!r} must hold numbers, got dtype {dtype}")
        digest.update(json.dumps([path, dtype, list(leaf.shape)]).encode() + b"\n" + _little_endian(array))
    return digest.hexdigest()


def _little_endian(array: np.ndarray[Any, Any]) -> bytes:
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return (array.byteswap() if sys.byteorder == "big" else array).tobytes()
