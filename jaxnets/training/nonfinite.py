"""NaN and infinities in training: the first one is found inside the compiled steps, and named when a run stops.

A step that is given a train state with a `Watch` looks at its numbers. At the first one that is not finite it notes
which it is and leaves everything else as it was, and so does every further step: the train state is the last good one,
and `.step` the number of the bad step.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnets import metrics as metric
from jaxnets.training.state import TrainState, Watch
from jaxnets.tree import paths
from jaxnets.types import Array, PyTree

_Name = tuple[str, str]
"""The kind of an array, `"gradient"`, `"params"`, `"state"` or `"opt_state"`, and its path."""


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


class Gradients(NamedTuple):
    """Gradients and what an optimizer makes of them, trees like the parameters or parts of such trees.

    Attributes:
        gradients: the gradients.
        updates: what is added to the parameters. Where it is zero the gradient does not count: that of a frozen
            parameter is not even computed.
    """

    gradients: PyTree
    updates: PyTree


class Found(NamedTuple):
    """Which numbers of a step are not finite first, as positions, int32; 0 if all are finite.

    Attributes:
        measured: of the loss or of a metric.
        array: of a gradient, or of an array of parameters, state or optimizer after the step.
    """

    measured: Array
    array: Array


def start_watch(steps: int | Array) -> Watch:
    """Return what lets so many steps be taken, and looks at their numbers.

    Example:
        >>> int(start_watch(3).remaining)
        3
    """
    return Watch(jnp.asarray(steps, jnp.int32), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def is_bad(found: Found | Watch) -> Array:
    """Return whether a number was not finite, as a scalar boolean.

    Example:
        >>> is_bad(Found(jnp.int32(0), jnp.int32(3)))
        Array(True, dtype=bool)
    """
    return (found.measured != 0) | (found.array != 0)


def decide(before: TrainState, found: Found, skip_nonfinite: int = 0) -> tuple[Array, Array, Watch | None]:
    """Return what becomes of a step: whether it is skipped, whether the run stops before it, and the new watch.

    Args:
        before: the train state before the step.
        found: what is not finite after it.
        skip_nonfinite: how many steps may be skipped in the run.

    Example:
        >>> before = TrainState.create({}, (), seed=0)._replace(watch=start_watch(3))
        >>> [bool(answer) for answer in decide(before, Found(jnp.int32(1), jnp.int32(0)))[:2]]
        [False, True]
    """
    skip = is_bad(found) & (before.skipped < skip_nonfinite)
    if before.watch is None:
        return skip, jnp.zeros((), bool), None
    halted, bad = before.watch.remaining <= 0, is_bad(found) & ~skip
    remaining = jnp.where(halted | bad, 0, before.watch.remaining - 1)
    positions = (jnp.where(bad & ~halted, new, old) for new, old in zip(found, before.watch[1:], strict=True))
    return skip & ~halted, halted | bad, Watch(remaining, *positions)


def find_nonfinite(
    after: TrainState, *, loss: Array | None = None, metrics: PyTree = None, gradients: Gradients | None = None
) -> Found:
    """Return which numbers of a step are not finite first.

    Single numbers of optimizers do not count, because some are infinite on purpose, such as a best value so far.

    Args:
        after: the train state after the step.
        loss: the loss, if it is known.
        metrics: the streamable metrics.
        gradients: gradients and updates, if they are known; of parts of the parameters, too.

    Example:
        >>> after = TrainState.create({"a": jnp.ones(2), "b": jnp.ones(1)}, (), seed=0)
        >>> pair = Gradients({"b": jnp.array([jnp.nan])}, {"b": jnp.ones(1)})
        >>> found = find_nonfinite(after, loss=jnp.array(1.0), metrics={}, gradients=pair)
        >>> nonfinite_error(found, after, {}).path
        'b'
    """
    trees = {"params": after.params, "state": after.state, "opt_state": after.opt_state}
    bad = {(kind, path): _nonfinite(leaf) for kind, tree in trees.items() for path, leaf in paths(tree).items()}
    if gradients is not None:
        updates = paths(gradients.updates)
        for path, gradient in paths(gradients.gradients).items():
            bad["gradient", path] = _nonfinite(gradient) & (updates[path] != 0)
    return Found(_first_measured(loss, metrics), _first_array(_groups(after), bad))


def nonfinite_error(found: Found | Watch, train_state: TrainState, metrics: PyTree) -> NonFiniteError:
    """Make the error that says in words what was found.

    Args:
        found: what the steps found.
        train_state: the state before the bad step.
        metrics: of the structure of those that were searched.
    """
    said, path = [], None
    measured, array, step = int(found.measured), int(found.array), int(train_state.step)
    if measured:
        names = ["the loss", *(f"the metric {name!r}" for name in named_metrics(metrics))]
        said.append(f"{names[measured - 1]} is not finite")
    if array:
        groups = _groups(train_state)
        rank, number = divmod(array - 1, len(groups))
        kind, path = groups[number][rank]
        if kind == "gradient":
            said.append(f"the first bad gradient is that of {path!r}")
        else:
            said.append(f"the first bad array of {kind} after it is {path!r}")
    advice = (
        "lower the learning rate, clip gradients (optax.clip_by_global_norm), check the data for NaN and for labels "
        "that are no classes, or leave such steps out with make_step(..., skip_nonfinite=10)"
    )
    message = f"training went wrong at step {step}: {'; '.join(said)}; {advice}"
    return NonFiniteError(message, step, path, train_state)


def guarded(step: Callable[..., tuple[TrainState, PyTree]], *, skip_nonfinite: int = 0) -> Any:
    """Let any step look for numbers that are not finite in its results, if the train state says so or it may skip.

    Steps that it calls do not look, because what they find might not reach its result. A step that looks by itself, as
    those of `make_step` do (`finds_nonfinite`), is returned as it is.

    Args:
        step: `step(train_state, batch, *constants) -> (train_state, metrics)`; to skip, with streamable metrics.
        skip_nonfinite: how many steps may be skipped, as in `make_step`.

    Example:
        >>> def step(train_state, batch):
        ...     return train_state._replace(step=train_state.step + 1, params={"w": batch}), {}
        >>> initial = TrainState.create({"w": jnp.ones(2)}, (), seed=0)._replace(watch=start_watch(5))
        >>> kept, _ = guarded(step)(initial, jnp.array([1.0, jnp.inf]))
        >>> kept.params["w"], int(kept.step), nonfinite_error(kept.watch, kept, {}).path
        (Array([1., 1.], dtype=float32), 0, 'w')
    """
    if getattr(step, "finds_nonfinite", False):
        return step

    @functools.wraps(step)
    def guarded_step(before: TrainState, batch: Any, *constants: PyTree) -> tuple[TrainState, PyTree]:
        if before.watch is None and not skip_nonfinite:
            return step(before, batch, *constants)
        after, metrics = step(before._replace(watch=None), batch, *constants)
        skip, stop, watch = decide(before, find_nonfinite(after, metrics=metrics), skip_nonfinite)
        kept: TrainState = where(skip | stop, before._replace(watch=None), after)
        kept = kept._replace(step=jnp.where(stop, before.step, after.step), watch=watch)
        if not skip_nonfinite:
            return kept, metrics
        kept = kept._replace(skipped=before.skipped + skip.astype(jnp.int32))
        return kept, where(skip, jax.tree.map(jnp.zeros_like, metrics), metrics)

    guarded_step.finds_nonfinite = True  # type: ignore[attr-defined]
    return guarded_step


def where(condition: Array, first: PyTree, second: PyTree) -> Any:
    """Choose between two trees as a whole.

    Example:
        >>> where(jnp.array(True), {"a": jnp.array(1)}, {"a": jnp.array(2)})
        {'a': Array(1, dtype=int32, weak_type=True)}
    """
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), first, second)


def named_metrics(tree: PyTree) -> dict[str, Any]:
    """Return metrics by name, the names in nested dicts joined by slashes, in the order of the names.

    Example:
        >>> list(named_metrics({"b": metric.mean(jnp.ones(2)), "a": {"c": metric.mean(jnp.ones(2))}}))
        ['a/c', 'b']
    """
    found = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda node: isinstance(node, metric.Metric))
    return dict(sorted((jax.tree_util.keystr(path, simple=True, separator="/"), leaf) for path, leaf in found))


def _nonfinite(leaf: Any) -> Array:
    """Which entries are not finite."""
    return ~jnp.isfinite(leaf) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) else jnp.zeros((), bool)


def _first_measured(loss: Array | None, metrics: PyTree) -> Array:
    """The position of the loss, 1, or of a metric; 0 if all are finite."""
    flags = [jnp.zeros((), bool) if loss is None else jnp.any(_nonfinite(loss))]
    for measured in named_metrics(metrics).values():
        bad = [jnp.any(_nonfinite(leaf)) for leaf in jax.tree.leaves(measured)]
        flags.append(jnp.any(jnp.stack(bad)))
    stacked = jnp.stack(flags)
    return jnp.where(jnp.any(stacked), jnp.argmax(stacked).astype(jnp.int32) + 1, 0)


def _groups(train_state: TrainState) -> list[dict[int, _Name]]:
    """The names of all arrays that are looked at, by rank; those of one group correspond entry by entry.

    A parameter, its gradient and its moments are one group, so that XLA looks at them in the loop that computes them.
    Of several bad arrays the one of the lowest rank counts, then the one of the first group.
    """
    parameters = paths(train_state.params)
    groups: dict[str, dict[int, _Name]] = {path: {0: ("gradient", path), 1: ("params", path)} for path in parameters}
    others: list[dict[int, _Name]] = [{2: ("state", path)} for path in paths(train_state.state)]
    for path, leaf in paths(train_state.opt_state).items():
        if jnp.ndim(leaf) == 0:
            continue
        parts = path.split("/")
        suffixes = ("/".join(parts[first:]) for first in range(len(parts) + 1))
        owner = next((name for name in suffixes if name in parameters), None)
        if owner is not None and jnp.shape(parameters[owner]) == jnp.shape(leaf):
            groups[owner][len(groups[owner]) + 1] = ("opt_state", path)
        else:
            others.append({3: ("opt_state", path)})
    return [*groups.values(), *others]


def _first_array(groups: list[dict[int, _Name]], bad: dict[_Name, Array]) -> Array:
    """The position of the first bad array, `rank * len(groups) + group + 1`; 0 if there is none.

    Each group takes one reduction, of bytes that are the larger the lower the rank is.
    """
    codes = []
    for group in groups:
        code = jnp.zeros((), jnp.uint8)
        for rank, name in sorted(group.items(), reverse=True):
            if name in bad:
                code = jnp.where(bad[name], jnp.uint8(255 - rank), code)
        codes.append(jnp.max(code, initial=0))
    if not codes:
        return jnp.zeros((), jnp.int32)
    stacked, end = jnp.stack(codes).astype(jnp.int32), jnp.int32(256 * len(codes))
    positions = (255 - stacked) * len(codes) + jnp.arange(1, len(codes) + 1, dtype=jnp.int32)
    first = jnp.min(jnp.where(stacked > 0, positions, end))
    return jnp.where(first == end, 0, first)
