"""Random keys by name: the only way in which this library derives keys."""

from __future__ import annotations

import operator
import zlib
from typing import TypeVar

import jax
import jax.numpy as jnp

from jaxnets.types import ArrayLike, Key

OptionalKey = TypeVar("OptionalKey", bound=Key | None)
"""A key, or None where a model needs none."""


def subkey(key: OptionalKey, name: str | ArrayLike) -> OptionalKey:
    """Derive a key by name from `key`.

    `fold_in(key, crc32(name))` for a string and `fold_in(key, name)` for a number. A key depends only on its name, so
    adding, removing or reordering layers leaves every other layer's key unchanged, and it is the same in every process
    (unlike Python's `hash` of a string).

    Args:
        key: a typed PRNG key, or None, which is returned, so models that need no key run without one.
        name: the name of a layer or purpose, or a number such as a step, which may be traced.

    Returns:
        The derived key, or None if `key` is None.

    Raises:
        TypeError: if the name is neither a string nor an integer.
        ValueError: if a number that is not traced is negative or does not fit 32 bits.

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
    number = zlib.crc32(name.encode()) if isinstance(name, str) else name
    if isinstance(number, jax.core.Tracer):
        if not jnp.issubdtype(number.dtype, jnp.integer):
            raise TypeError(f"subkey: a name must be a string or an integer, got a traced {number.dtype}")
    else:
        try:
            number = operator.index(number)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"subkey: a name must be a string or an integer, got {name!r}") from None
        if not 0 <= number < 2**32:
            raise ValueError(f"subkey: a number must be from 0 to 2**32 - 1, got {name}")
    return key if key is None else jax.random.fold_in(key, number)  # type: ignore[return-value]
