"""Evaluation over a whole data set, exact also when the last batch is incomplete."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxnets import metrics as metric
from jaxnets.integers import as_integer
from jaxnets.label_check import note_rows
from jaxnets.random import subkey
from jaxnets.sharding import Placement
from jaxnets.training.batches import data_size
from jaxnets.training.gradient import Loss, call_loss
from jaxnets.training.placed import placed_loss
from jaxnets.training.state import TrainState
from jaxnets.types import PyTree


def make_evaluate(loss: Loss, *, batch_size: int = 256, placement: Placement | None = None) -> Callable[..., PyTree]:
    """Make the function that measures a data set with the metrics of a loss, in evaluation mode.

    The examples are taken in order, `batch_size` at a time; what remains is a smaller batch of its own. So every
    example counts once and equally, and no padding enters any sum.

    Args:
        loss: `loss(params, state, batch, *, key, train) -> (value, (new_state, metrics))` with streamable metrics.
            It is called with `train=False` and a key folded from that of the run.
        batch_size: examples at a time; it affects memory and speed, and the result only by rounding.
        placement: where it runs on a mesh of devices, each of which measures its part of every batch; `fit` passes that
            of its step. Batches are made a multiple of the number of parts, and of the last one what cannot be divided
            is measured by all devices.

    Returns:
        `evaluate(train_state, data) -> metrics`, pure and traceable: jit it, and read the numbers with
        `jaxnets.metrics.compute`. `evaluate(train_state, data, constants)` passes a tree of arrays that do not train to
        the loss, as the keyword `constants`; where the data are a part of a set, `first` says how many examples came
        before them, so that random numbers are those of the whole.

    Raises:
        ValueError: if `batch_size` is not a positive integer; by the returned function, if there is no example.

    Example:
        >>> import jax.numpy as jnp
        >>> def loss(params, state, batch, *, key, train):
        ...     return jnp.mean(batch), (state, {"loss": metric.mean(batch)})
        >>> state = TrainState.create({}, (), seed=0)
        >>> evaluate = make_evaluate(loss, batch_size=2)
        >>> float(metric.compute(evaluate(state, jnp.array([1.0, 2.0, 6.0])))["loss"])
        3.0
    """
    batch_size = as_integer("make_evaluate", "batch_size", batch_size, at_least=1)
    parts = 1 if placement is None else placement.batch_parts
    at_once = -(-batch_size // parts) * parts
    local = loss if placement is None else placed_loss(loss, placement)

    def evaluate(train_state: TrainState, data: Any, constants: PyTree = None, *, first: Any = 0) -> PyTree:
        bound = local if constants is None else functools.partial(local, constants=constants)
        size = data_size(data)
        if size == 0:
            raise ValueError("make_evaluate: there is no example to evaluate; every array has 0 rows")
        key = subkey(train_state.key, "evaluate")
        model = train_state.params, train_state.state

        def measure(start: Any, count: int) -> PyTree:
            rows = jax.tree.map(lambda array: jax.lax.dynamic_slice_in_dim(array, start, count), data)
            note_rows(rows)
            return call_loss(bound, *model, rows, key=subkey(key, first + start), train=False)[2]

        batches, rest = divmod(size, at_once)
        measured = []
        if batches:
            starts = jax.numpy.arange(batches, dtype=jax.numpy.int32) * at_once
            _, stacked = jax.lax.scan(lambda _, start: (None, measure(start, at_once)), None, starts)
            measured.append(metric.reduce(stacked))
        measured += [measure(size - rest, rest - rest % parts)] if rest >= parts else []
        measured += [measure(size - rest % parts, rest % parts)] if rest % parts else []
        return functools.reduce(metric.merge, measured)

    evaluate.on_mesh = functools.partial(make_evaluate, loss, batch_size=batch_size)  # type: ignore[attr-defined]
    evaluate.placement = placement  # type: ignore[attr-defined]
    evaluate.at_once = at_once  # type: ignore[attr-defined]
    return evaluate
