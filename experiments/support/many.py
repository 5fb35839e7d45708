"""Many networks at once: their seeds, and their data side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import jax
import numpy as np

Tree = TypeVar("Tree")


def consecutive_seeds(first: int, count: int) -> np.ndarray:
    """The seeds first, first + 1, ..., modulo 2^32: uint32 `[count]`."""
    return (first % 2**32 + np.arange(count, dtype=np.uint64)).astype(np.uint32)


def stack(trees: Sequence[Tree]) -> Tree:
    """Stack trees of arrays of the same shapes along a new first axis."""
    stacked: Tree = jax.tree.map(lambda *arrays: np.stack(arrays), *trees)
    return stacked
