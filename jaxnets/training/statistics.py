"""Batch statistics, measured again for parameters that no batch was trained with."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.integers import as_integer
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.training.batches import data_size
from jaxnets.training.state import TrainState
from jaxnets.training.tune import compiler_options
from jaxnets.types import Key, PyTree, State


def update_statistics(model: Model, train_state: TrainState, inputs: PyTree, *, batch_size: int) -> TrainState:
    """Measure the statistics of batch norm again: the mean over batches of their means and unbiased variances.

    Averages of parameters (`use_ema`, or a mean over runs) were never trained themselves, so the running statistics are
    those of other parameters.

    Args:
        model: the network.
        train_state: with the parameters to measure for.
        inputs: a tree of arrays `[examples, ...]`, what the model's apply takes, in random order. The incomplete last
            batch is left out.
        batch_size: examples a batch, as in training.

    Returns:
        The train state with new `mean` and `variance`, and `count` the number of batches, wherever batch norm has them;
        all else is as it was.

    Raises:
        ValueError: if there is no batch norm, or the inputs do not make one batch.

    Example:
        >>> import optax
        >>> from jaxnets import make_model, nn
        >>> from jaxnets.training import init_train_state
        >>> def apply(params, state, x, *, key=None, train):
        ...     return nn.batch_norm(params, state, x, train=train)
        >>> model = make_model(nn.batch_norm_spec(1), apply)
        >>> start = init_train_state(model, optax.sgd(0.1), seed=0)
        >>> measured = update_statistics(model, start, jnp.array([[1.0], [3.0], [5.0], [9.0]]), batch_size=2)
        >>> measured.state["mean"], measured.state["variance"]  # of 2 and 7, and of 2 and 8
        (Array([4.5], dtype=float32), Array([5.], dtype=float32))

    Reference:
        Izmailov et al., Averaging weights leads to wider optima and better generalization, 2018.

    Warning:
        Layers with `warm_up=False` mix their first batch with the initial values 0 and 1, so that this does not work.
    """
    batch_size = as_integer("update_statistics", "batch_size", batch_size, at_least=1)
    count = data_size(inputs) // batch_size
    if count < 1:
        raise ValueError(f"update_statistics: {data_size(inputs)} examples do not make a batch of {batch_size}")
    if not _has_statistics(train_state.state):
        raise ValueError("update_statistics: the state has no batch norm, which holds mean, variance and count")

    def run(params: Any, state: State, inputs: PyTree, key: Key) -> State:
        batches = jax.tree.map(lambda a: a[: count * batch_size].reshape((count, batch_size, *a.shape[1:])), inputs)
        fresh = _with_statistics(state, state, lambda node, _: node | {"count": jnp.zeros_like(node["count"])})

        def measure(sums: State, batch: tuple[Any, Any]) -> tuple[State, None]:
            x, number = batch
            _, measured = model.apply(params, fresh, x, key=subkey(key, number), train=True)
            return _with_statistics(sums, measured, _add), None

        zeros = _with_statistics(state, state, lambda node, _: node | {k: jnp.zeros_like(node[k]) for k in node})
        sums, _ = jax.lax.scan(measure, zeros, (batches, jnp.arange(count, dtype=jnp.int32)))
        return _with_statistics(state, sums, lambda node, total: node | _mean(total, count))

    key = subkey(train_state.key, "statistics")
    state = jax.jit(run, compiler_options=compiler_options())(train_state.params, train_state.state, inputs, key)
    return train_state._replace(state=state)


def _is_statistics(node: Any) -> bool:
    return isinstance(node, dict) and {"mean", "variance", "count"} <= set(node)


def _has_statistics(state: Any) -> bool:
    return any(map(_is_statistics, jax.tree.leaves(state, is_leaf=_is_statistics)))


def _with_statistics(state: State, other: State, change: Any) -> State:
    """The state with `change(node, other_node)` in the place of every batch norm's."""
    return jax.tree.map(
        lambda node, counterpart: change(node, counterpart) if _is_statistics(node) else node,
        state,
        other,
        is_leaf=_is_statistics,
    )


def _add(total: dict[str, Any], measured: dict[str, Any]) -> dict[str, Any]:
    return total | {name: total[name] + measured[name] for name in ("mean", "variance")}


def _mean(total: dict[str, Any], count: int) -> dict[str, Any]:
    means = {name: total[name] / count for name in ("mean", "variance")}
    return means | {"count": jnp.full_like(total["count"], count)}
