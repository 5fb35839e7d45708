"""The gradient of a loss, of a whole batch at once or of its parts one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from jaxnets import metrics as metric
from jaxnets.random import subkey
from jaxnets.training.batches import data_size
from jaxnets.types import Array, Key, Params, PyTree, State

Loss: TypeAlias = Callable[..., tuple[Array, tuple[State, PyTree]]]
"""`loss(params, state, batch, *, key, train) -> (scalar, (new_state, metrics))`, a pure function."""
Gradient: TypeAlias = Callable[..., tuple[Array, Params, State, PyTree]]
"""`gradient(params, state, batch, *, key) -> (loss, gradients, new_state, metrics)`, a pure function."""


def loss_gradient(loss: Loss) -> Gradient:
    """Make the function that returns a loss, its gradient, the new state and the metrics as streamable metrics.

    Example:
        >>> def loss(params, state, batch, *, key, train):
        ...     return jnp.sum(params**2), (state, {})
        >>> value, gradients, _, _ = loss_gradient(loss)(jnp.array([3.0]), {}, None, key=None)
        >>> value, gradients
        (Array(9., dtype=float32), Array([6.], dtype=float32))
    """

    def gradient(params: Params, state: State, batch: Any, *, key: Key | None) -> tuple[Array, Params, State, PyTree]:
        function = jax.value_and_grad(loss, has_aux=True)
        (value, (new_state, metrics)), gradients = function(params, state, batch, key=key, train=True)
        return value, gradients, new_state, as_metrics(metrics)

    return gradient


def accumulated_gradient(loss: Loss, parts: int) -> Gradient:
    """Make the same for batches that are cut into equal parts, one after the other in a `lax.scan`.

    The losses and gradients of the parts are averaged, the state goes from part to part, the metrics are added up, and
    each part has a key of its own.

    Raises:
        ValueError: by the returned function, if a batch cannot be cut into equal parts.

    Example:
        >>> def loss(params, state, batch, *, key, train):
        ...     return jnp.mean(params * batch), (state, {})
        >>> _, gradients, _, _ = accumulated_gradient(loss, 2)(jnp.array(1.0), {}, jnp.arange(4.0), key=None)
        >>> gradients
        Array(1.5, dtype=float32)
    """
    of_part = loss_gradient(loss)

    def gradient(params: Params, state: State, batch: Any, *, key: Key | None) -> tuple[Array, Params, State, PyTree]:
        size = data_size(batch)
        if size % parts:
            raise ValueError(f"make_step: a batch of {size} examples cannot be cut into accumulate={parts} equal parts")
        cut = jax.tree.map(lambda leaf: jnp.reshape(leaf, (parts, size // parts, *jnp.shape(leaf)[1:])), batch)

        def one(carry: tuple[Params, State], part: tuple[Any, Array]) -> tuple[tuple[Params, State], Any]:
            total, state = carry
            rows, number = part
            value, gradients, state, metrics = of_part(params, state, rows, key=subkey(key, number))
            return (jax.tree.map(jnp.add, total, gradients), state), (value, metrics)

        zeros = jax.tree.map(jnp.zeros_like, params)
        (total, state), (values, stacked) = jax.lax.scan(one, (zeros, state), (cut, jnp.arange(parts)))
        mean = jax.tree.map(lambda leaf: leaf / jnp.asarray(parts, leaf.dtype), total)
        return jnp.mean(values), mean, state, metric.reduce(stacked)

    return gradient


def as_metrics(tree: PyTree) -> PyTree:
    """Turn the plain arrays among a loss's metrics into means, so that all can be added up over batches.

    Example:
        >>> metric.compute(as_metrics({"norm": jnp.array(3.0)}))
        {'norm': Array(3., dtype=float32)}
    """

    def is_metric(node: Any) -> bool:
        return isinstance(node, metric.Metric)

    return jax.tree.map(lambda leaf: leaf if is_metric(leaf) else metric.mean(leaf), tree, is_leaf=is_metric)
