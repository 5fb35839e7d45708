"""Types for annotations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.typing

Array: TypeAlias = jax.Array
"""An array of JAX, also one that is traced."""
ArrayLike: TypeAlias = jax.typing.ArrayLike
"""An array of JAX or NumPy, or a number."""
DTypeLike: TypeAlias = jax.typing.DTypeLike
"""A dtype, or what NumPy makes one of, such as `jnp.bfloat16` or `"float32"`."""
Key: TypeAlias = jax.Array
"""A typed PRNG key, such as `jax.random.key(0)`."""
PyTree: TypeAlias = Any
"""Any nesting of dicts, lists, tuples and NamedTuples with arrays at its leaves."""
Params: TypeAlias = Any
"""A nested dict or list of parameter arrays."""
State: TypeAlias = Any
"""A nested dict or list of arrays that the model updates, such as batch statistics."""
Initializer: TypeAlias = Callable[..., Array]
"""A function `(key, shape, dtype) -> array`, such as those of `jax.nn.initializers`."""
Padding: TypeAlias = str | int | Sequence[int | tuple[int, int]]
"""`"SAME"`, `"VALID"`, one number for all sides, or for each axis a number or a pair (before, after). Convolutions take
`"CAUSAL"` too."""

__all__ = ["Array", "ArrayLike", "DTypeLike", "Initializer", "Key", "Padding", "Params", "PyTree", "State"]
