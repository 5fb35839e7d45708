"""Integers as users write them: Python's, NumPy's and JAX's, but no floating-point numbers and no strings."""

from __future__ import annotations

import operator
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.tree import describe
from jaxnets.types import Array


def as_integer(function: str, name: str, value: Any, *, at_least: int) -> int:
    """Return a number as an integer of Python.

    Args:
        function: the function that was called, for the error.
        name: of the argument.
        value: what came.
        at_least: the smallest number allowed.

    Raises:
        ValueError: if it is no integer, or too small.

    Example:
        >>> import numpy as np
        >>> as_integer("fit", "epochs", np.int64(3), at_least=1)
        3
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = at_least - 1
    if number < at_least:
        raise ValueError(f"{function}: {name} must be an integer of at least {at_least}, got {value!r}")
    return number


def as_seed(function: str, seed: Any) -> int | Array:
    """Return a seed as an integer of Python, or as it is if it is traced.

    Args:
        function: the function that was called, for the error.
        seed: an integer from 0 to 2^32 - 1, or a traced one.

    Raises:
        TypeError: if it is no integer.
        ValueError: if it does not fit 32 bits; it would stand for another one.

    Example:
        >>> import numpy as np
        >>> as_seed("init_train_state", np.uint32(7))
        7
    """
    if isinstance(seed, jax.core.Tracer):
        if not jnp.issubdtype(seed.dtype, jnp.integer):
            raise TypeError(f"{function}: seed must be an integer, got {describe(seed)}")
        return seed
    try:
        number = operator.index(seed)
    except TypeError:
        raise TypeError(f"{function}: seed must be an integer from 0 to 2**32 - 1, got {describe(seed)}") from None
    if not 0 <= number < 2**32:
        raise ValueError(f"{function}: seed must be from 0 to 2**32 - 1, got {number}")
    return number
