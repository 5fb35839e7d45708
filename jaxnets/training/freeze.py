"""Parameters that stay as they are."""

from __future__ import annotations

import fnmatch

import jax
import optax

from jaxnets.tree import paths
from jaxnets.types import Params, PyTree


def freeze(optimizer: optax.GradientTransformation, *patterns: str) -> optax.GradientTransformation:
    """Leave the parameters whose paths match a pattern as they are.

    The optimizer sees the other parameters only: it keeps no memory for the frozen ones, and clipping by the global
    norm inside it counts the trained ones alone. In a compiled step no gradient is computed that nothing needs. State,
    such as the running statistics of batch norm, goes on changing in training.

    Args:
        optimizer: an optax optimizer.
        patterns: paths as `jaxnets.tree.paths` writes them, or the beginning of paths up to a slash; `*` stands for
            any characters, `?` for one, `[ab]` for one of them. `"conv1"` freezes a whole layer, `"*/bias"` all biases.

    Returns:
        An optax optimizer.

    Raises:
        ValueError: if there is no pattern; by `init`, if a pattern matches no parameter.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"body": {"kernel": jnp.ones(1)}, "head": {"kernel": jnp.ones(1)}}
        >>> optimizer = freeze(optax.sgd(0.5), "body")
        >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
        >>> updates["body"]["kernel"], updates["head"]["kernel"]
        (Array([0.], dtype=float32), Array([-0.5], dtype=float32))
    """
    if not patterns:
        raise ValueError("freeze: name at least one pattern of paths, such as freeze(optimizer, 'conv1', '*/bias')")

    def labels(params: Params) -> PyTree:
        mask = path_mask(params, *patterns, function="freeze")
        return jax.tree.map(lambda frozen: "frozen" if frozen else "trained", mask)

    return optax.partition({"trained": optimizer, "frozen": optax.set_to_zero()}, labels)


def path_mask(params: Params, *patterns: str, function: str = "path_mask") -> PyTree:
    """Mark the parameters whose paths match one of the patterns; see `freeze` for what a pattern is.

    Args:
        params: a tree of parameters.
        patterns: each has to match at least one path.
        function: whose name stands in the error.

    Returns:
        A tree of bools like `params`.

    Raises:
        ValueError: if a pattern matches no parameter.

    Example:
        >>> path_mask({"fc1": {"bias": 0, "kernel": 0}, "fc2": {"bias": 0}}, "*/bias")
        {'fc1': {'bias': True, 'kernel': False}, 'fc2': {'bias': True}}
    """
    names = list(paths(params))
    for pattern in patterns:
        if not any(_matches(name, pattern) for name in names):
            raise ValueError(f"{function}: the pattern {pattern!r} matches no parameter; there are {', '.join(names)}")
    chosen = [any(_matches(name, pattern) for pattern in patterns) for name in names]
    return jax.tree.unflatten(jax.tree.structure(params), chosen)


def _matches(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, pattern + "/*")
