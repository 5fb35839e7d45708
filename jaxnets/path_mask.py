"""Which parameters a pattern of paths means."""

from __future__ import annotations

import fnmatch

import jax

from jaxnets.tree import paths
from jaxnets.types import Params, PyTree


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
