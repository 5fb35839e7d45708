"""Random keys by name: the one way in which this library derives a key from another."""

from __future__ import annotations

import zlib
from typing import overload

import jax

from jaxnets.types import ArrayLike, Key


@overload
def subkey(key: Key, name: str | ArrayLike) -> Key: ...
@overload
def subkey(key: None, name: str | ArrayLike) -> None: ...
def subkey(key: Key | None, name: str | ArrayLike) -> Key | None:
    """Derive the key that belongs to `name` from `key`.

    `fold_in(key, crc32(name))` for a string and `fold_in(key, name)` for a number. Because a key depends on its
    name alone, adding, removing or reordering layers leaves every other layer's key unchanged, and so do other
    processes (Python's own `hash` of a string differs from process to process).

    Args:
        key: a typed PRNG key, or None, which is passed on so that models run without a key where none is needed.
        name: the name of a layer or purpose, or a number such as a step, which may be traced.

    Returns:
        The derived key, or None if `key` is None.

    Example:
        >>> import jax
        >>> key = jax.random.key(0)
        >>> subkey(key, "dropout") == subkey(key, "dropout")
        Array(True, dtype=bool)
        >>> subkey(key, "dropout") == subkey(key, "noise")
        Array(False, dtype=bool)
        >>> subkey(None, "dropout") is None
        True
    """
    if key is None:
        return None
    return jax.random.fold_in(key, zlib.crc32(name.encode()) if isinstance(name, str) else name)
