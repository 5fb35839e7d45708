"""NaN and infinities in training: skipping such steps, and naming the first one when a run stops."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from jaxnets.training.state import TrainState
from jaxnets.tree import paths
from jaxnets.types import Array, PyTree

Tree = TypeVar("Tree")


class NonFiniteError(FloatingPointError):
    """A loss, a metric or a parameter became NaN or infinite.

    Attributes:
        step: the number of the bad step, counted from 0: as many good steps were done.
        path: of the first parameter whose gradient was bad, or else of the first array of parameters, state or
            optimizer that the step made bad; None if the loss or a metric alone is bad.
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


def finite_numbers(value: Array, gradients: PyTree, updates: PyTree) -> PyTree:
    """Return whether the loss and the gradient of each parameter are finite, as a tree of scalar booleans.

    Where the update is zero the gradient does not count: that of a frozen parameter is not even computed.

    Example:
        >>> bad = jnp.array([jnp.inf])
        >>> finite_numbers(jnp.array(1.0), {"a": bad, "b": bad}, {"a": jnp.array([0.1]), "b": jnp.zeros(1)})
        {'gradient': {'a': Array(False, dtype=bool), 'b': Array(True, dtype=bool)}, 'loss': Array(True, dtype=bool)}
    """

    def counts(gradient: Array, update: Array) -> Array:
        return jnp.all(jnp.isfinite(gradient) | (update == 0))

    return {"gradient": jax.tree.map(counts, gradients, updates), "loss": jnp.all(jnp.isfinite(value))}


def all_true(flags: PyTree) -> Array:
    """Return whether all booleans of a tree are true, as a scalar boolean.

    Example:
        >>> all_true({"a": jnp.array([True, True]), "b": jnp.array(False)}), all_true({})
        (Array(False, dtype=bool), Array(True, dtype=bool))
    """
    return jnp.all(jnp.stack([jnp.array(True), *map(jnp.all, jax.tree.leaves(flags))]))


def first_nonfinite(tree: PyTree) -> str | None:
    """Return the path of the first array with a number that is not finite, None if there is none.

    Example:
        >>> first_nonfinite({"a": {"bias": jnp.zeros(2)}, "b": {"kernel": jnp.array([1.0, jnp.nan])}})
        'b/kernel'
    """
    for path, leaf in paths(tree).items():
        if _has_fractions(leaf) and not bool(jnp.all(jnp.isfinite(leaf))):
            return path
    return None


def skip_bad_step(
    before: TrainState, after: TrainState, finite: PyTree, metrics: Tree, *, limit: int
) -> tuple[TrainState, Tree]:
    """Return what a step returns, or the state before it if its numbers are not finite.

    The counters go on either way. Of a skipped step the metrics are zeros, which add nothing to a sum or a mean.

    Args:
        before: the train state before the step.
        after: the train state after it.
        finite: what `finite_numbers` says of the step.
        metrics: the streamable metrics of the step.
        limit: how many steps may be skipped in all; further ones are taken.

    Example:
        >>> before = TrainState.create({"w": jnp.zeros(1)}, (), seed=0)
        >>> after = TrainState.create({"w": jnp.array([jnp.nan])}, (), seed=0, step=1)
        >>> kept, _ = skip_bad_step(before, after, {"loss": jnp.array(False)}, {}, limit=1)
        >>> kept.params["w"], int(kept.step), int(kept.skipped)
        (Array([0.], dtype=float32), 1, 1)
    """
    skip = ~all_true(finite) & (before.skipped < limit)
    kept = jax.tree.map(lambda old, new: jnp.where(skip, old, new), before, after)
    counters = after.counters + jnp.array([0, 0, 1], jnp.uint32) * skip.astype(jnp.uint32)
    counted = jax.tree.map(lambda leaf: jnp.where(skip, jnp.zeros_like(leaf), leaf), metrics)
    return kept._replace(counters=counters), counted


def _has_fractions(leaf: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)) if hasattr(leaf, "dtype") else False
