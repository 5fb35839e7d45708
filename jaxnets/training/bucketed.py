"""Training and evaluation by `fit` on batches of several shapes, as `jaxnets.data.make_buckets` makes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets import metrics as metric
from jaxnets.random import subkey
from jaxnets.sharding import Placement
from jaxnets.training.first_step import reach
from jaxnets.training.gradient import Loss, call_loss
from jaxnets.training.placed import placed_loss
from jaxnets.training.state import TrainState
from jaxnets.training.step import Step
from jaxnets.types import Array, PyTree

Groups = Sequence[Mapping[str, Any]]
"""Batches by shape, stacked: for each shape a dict of arrays `[batches, batch, ...]`."""


def bucket_step(step: Step) -> Step:
    """Make a step for `fit` that takes its batches from buckets, whose lengths differ.

    What `fit` shuffles are the places of the batches; the batches themselves are its constants. Its program holds the
    step once for each shape, and all else of `fit` works as always: many steps in one dispatch, checkpoints, and the
    batch of step n as a function of the seed and n. Where events count examples, they count batches.

    Args:
        step: `step(train_state, batch) -> (train_state, metrics)`, as `make_step` returns, of a loss that takes the
            batches of `jaxnets.data.make_buckets`.

    Returns:
        `step(train_state, places, groups) -> (train_state, metrics)`, for `places` int32 `[1, 2]`.

    Raises:
        ValueError: by the step, if it is not given one place, as by another batch size than 1, or no groups.

    Example:
        >>> import numpy as np, optax
        >>> from jaxnets.data import make_buckets
        >>> from jaxnets.training import fit, make_step
        >>> def loss(params, state, batch, *, key, train):
        ...     real = batch["text_lengths"].astype(jnp.float32)
        ...     value = metric.mean((params - real) ** 2, weights=batch["weights"])
        ...     return value, (state, {"loss": value})
        >>> texts = [np.zeros(count, int) for count in (2, 3, 5, 6, 7, 7)]  # 5 on average
        >>> buckets = make_buckets({"text": texts}, lengths=[4, 8], batch_size=2)
        >>> start = TrainState.create(jnp.zeros(()), optax.sgd(0.01).init(jnp.zeros(())), seed=0)
        >>> trained = fit(
        ...     start,
        ...     bucket_step(make_step(loss, optax.sgd(0.01))),
        ...     buckets.places,
        ...     constants=buckets.groups,
        ...     batch_size=1,
        ...     epochs=200,
        ...     evaluate=bucket_evaluate(loss),
        ...     validation=buckets.groups,
        ... )
        >>> round(float(trained.train_state.params), 1)
        5.0

    Warning:
        A checkpoint knows the places and not the texts, so it is not noticed if another data set of as many batches is
        given to a run that goes on.
    """

    def from_buckets(train_state: TrainState, places: Array, groups: Groups = ()) -> tuple[TrainState, PyTree]:
        reach(from_buckets, train_state, places, groups)
        if jnp.shape(places) != (1, 2) or not groups:
            raise ValueError(
                f"bucket_step: expected one place [1, 2] and the groups, got {list(jnp.shape(places))} and "
                f"{len(groups)} groups; write fit(..., buckets.places, batch_size=1, constants=buckets.groups)"
            )
        group, index = places[0]

        def take(arrays: Mapping[str, Any]) -> Callable[[TrainState], tuple[TrainState, PyTree]]:
            return lambda state: step(state, jax.tree.map(lambda array: jnp.asarray(array)[index], dict(arrays)))

        taken: tuple[TrainState, PyTree] = jax.lax.switch(group, [take(arrays) for arrays in groups], train_state)
        return taken

    for name in ("finds_nonfinite", "optimizer", "placement"):
        if hasattr(step, name):
            setattr(from_buckets, name, getattr(step, name))
    return from_buckets


def bucket_evaluate(loss: Loss, *, placement: Placement | None = None) -> Callable[..., PyTree]:
    """Make the function that measures buckets with the metrics of a loss, in evaluation mode; see `bucket_step`.

    Args:
        loss: `loss(params, state, batch, *, key, train) -> (value, (new_state, metrics))` with streamable metrics,
            which take the `weights` of a batch.
        placement: as in `make_evaluate`; a batch that cannot be divided into equal parts is measured by all devices.

    Returns:
        `evaluate(train_state, groups, constants) -> metrics`, pure and traceable, for `groups` of
        `jaxnets.data.make_buckets`. The constants, those of the training, are left alone.

    Raises:
        ValueError: by the returned function, if there are no groups.
    """
    local = loss if placement is None else placed_loss(loss, placement)

    def evaluate(train_state: TrainState, groups: Groups, constants: PyTree = None) -> PyTree:
        if not groups:
            raise ValueError("bucket_evaluate: there is no example to evaluate; got no groups")
        key = subkey(train_state.key, "evaluate")
        measured = None
        for number, group in enumerate(groups):
            arrays = jax.tree.map(jnp.asarray, dict(group))
            count = len(arrays["weights"])

            def measure(_: None, numbered: tuple[Array, Any], key: Array = subkey(key, number)) -> tuple[None, PyTree]:
                index, batch = numbered
                model = train_state.params, train_state.state
                return None, call_loss(local, *model, batch, key=subkey(key, index), train=False)[2]

            reduced = metric.reduce(jax.lax.scan(measure, None, (jnp.arange(count), arrays))[1])
            measured = reduced if measured is None else metric.merge(measured, reduced)
        return measured

    evaluate.placement = placement  # type: ignore[attr-defined]
    evaluate.on_mesh = functools.partial(bucket_evaluate, loss)  # type: ignore[attr-defined]
    return evaluate
