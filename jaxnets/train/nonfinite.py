"""NaN and infinities in training: skipping such steps, and naming the first one when a run stops."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.train.state import TrainState
from jaxnets.tree import paths
from jaxnets.types import Array, PyTree

Tree = TypeVar("Tree")


class NonFiniteError(FloatingPointError):
    """A loss, a metric or a parameter became NaN or infinite.

    Attributes:
        step: the number of the bad step, counted from 0: as many good steps were done.
        path: of the first parameter, or else array of state or optimizer, that the step made bad; None if the
            loss alone is bad.
        train_state: the state before the bad step, with all its numbers finite.
    """

    def __init__(self, message: str, step: int, path: str | None, train_state: TrainState):
        super().__init__(message)
        self.step, self.path, self.train_state = step, path, train_state


def all_finite(tree: PyTree) -> Array:
    """Return whether every floating-point number of a tree is finite, as a scalar boolean.

    Example:
        >>> all_finite({"kernel": jnp.array([1.0, jnp.inf]), "step": jnp.array(3)})
        Array(False, dtype=bool)
    """
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree) if _has_fractions(leaf)]
    return jnp.all(jnp.stack(leaves)) if leaves else jnp.array(True)


def first_nonfinite(tree: PyTree) -> str | None:
    """Return the path of the first array with a number that is not finite, None if there is none.

    Example:
        >>> first_nonfinite({"a": {"bias": jnp.zeros(2)}, "b": {"kernel": jnp.array([1.0, jnp.nan])}})
        'b/kernel'
    """
    for path, leaf in paths(tree).items():
        if _has_fractions(leaf) and not bool(np.all(np.isfinite(np.asarray(leaf).astype(np.float64)))):
            return path
    return None


def skip_bad_step(
    before: TrainState, after: TrainState, value: Array, gradients: PyTree, metrics: Tree, *, limit: int
) -> tuple[TrainState, Tree]:
    """Return what a step returns, or the state before it if its loss or gradient is not finite.

    The counters go on either way. Of a skipped step the metrics are zeros, which add nothing to a sum or a mean.

    Args:
        before: the train state before the step.
        after: the train state after it.
        value: the loss.
        gradients: the gradients.
        metrics: the streamable metrics of the step.
        limit: how many steps may be skipped in all; further ones are taken.

    Example:
        >>> before = TrainState.create({"w": jnp.zeros(1)}, (), seed=0)
        >>> after = TrainState.create({"w": jnp.array([jnp.nan])}, (), seed=0, step=1)
        >>> kept, _ = skip_bad_step(before, after, jnp.array(1.0), after.params, {}, limit=1)
        >>> kept.params["w"], int(kept.step), int(kept.skipped)
        (Array([0.], dtype=float32), 1, 1)
    """
    skip = ~all_finite((value, gradients)) & (before.skipped < limit)
    kept = jax.tree.map(lambda old, new: jnp.where(skip, old, new), before, after)
    counters = after.counters + jnp.array([0, 0, 1], jnp.uint32) * skip.astype(jnp.uint32)
    counted = jax.tree.map(lambda leaf: jnp.where(skip, jnp.zeros_like(leaf), leaf), metrics)
    return kept._replace(counters=counters), counted


def _has_fractions(leaf: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)) if hasattr(leaf, "dtype") else False
