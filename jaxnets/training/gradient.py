"""The gradient of a loss: of a whole batch, of its parts one after the other, and of its parts on several devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jaxnets import metrics as metric
from jaxnets.devices import same_on_all, vary_like
from jaxnets.label_check import note_rows
from jaxnets.nn.check import compute_dtype
from jaxnets.random import subkey
from jaxnets.training.batches import data_size
from jaxnets.tree import describe, differences
from jaxnets.types import Array, Key, Params, PyTree, State

Loss: TypeAlias = Callable[..., tuple[Array | metric.Mean, tuple[State, PyTree]]]
"""`loss(params, state, batch, *, key, train) -> (value, (new_state, metrics))`, a pure function.

`value` is a scalar, of which the parts of a batch count equally, or what `jaxnets.metrics.mean` returns, a sum and a
weight, of which they count by their weight: then the gradient is that of the mean over the whole batch, exactly.
"""
Gradient: TypeAlias = Callable[..., tuple[Array, Params, State, PyTree]]
"""`gradient(params, state, batch, *, key, scale=None) -> (loss, gradients, new_state, metrics)`, a pure function.

The loss is multiplied by `scale` before its gradient is taken, which is then divided by it; see `with_loss_scale`.
"""


class _Part(NamedTuple):
    """What one part of a batch gives; `weight` is None where the loss is a scalar.

    With several devices a loss of weighted examples is divided by the weight of all before its gradient is taken:
    through batch norm of the whole batch, each device's gradient depends on the losses of the others.
    """

    value: Array
    weight: Array | None
    gradients: Params
    state: State
    metrics: PyTree


def loss_gradient(loss: Loss, *, accumulate: int = 1, axis_name: str | None = None) -> Gradient:
    """Make the function that returns a loss, its gradient, the new state and the metrics as streamable metrics.

    Args:
        loss: see `Loss`.
        accumulate: into how many equal parts a batch is cut, one after the other in a `lax.scan`. Their losses and
            gradients are averaged in float32 at least, the state goes from part to part, the metrics are added up, and
            each part has a key of its own.
        axis_name: of a mapped axis of devices, over which losses, gradients, state and metrics are put together.

    Raises:
        TypeError: by the returned function, if the loss does not return what it should.
        ValueError: by the returned function, if the loss changes the structure of the state, or a batch cannot be cut
            into equal parts.

    Example:
        >>> def loss(params, state, batch, *, key, train):
        ...     return metric.mean(params * batch, weights=batch > 0), (state, {})
        >>> batch = jnp.array([1.0, 2.0, 6.0, -1.0])
        >>> value, gradients, _, _ = loss_gradient(loss, accumulate=2)(jnp.array(2.0), {}, batch, key=None)
        >>> value, gradients
        (Array(6., dtype=float32), Array(3., dtype=float32))
    """

    def gradient(
        params: Params, state: State, batch: Any, *, key: Key | None, scale: Array | None = None
    ) -> tuple[Array, Params, State, PyTree]:
        if axis_name is not None:
            params, state = _of_each_device((params, state), axis_name)
        if accumulate == 1:
            part = _of_part(loss, params, state, batch, key, scale, axis_name)
        else:
            part = _of_parts(loss, params, state, batch, key, scale, axis_name, accumulate)
        if axis_name is not None:
            part = _of_devices(part, axis_name)
        gradients = jax.tree.map(lambda leaf, like: leaf.astype(like.dtype), part.gradients, params)
        return part.value, gradients, part.state, part.metrics

    return gradient


def _of_part(
    loss: Loss,
    params: Params,
    state: State,
    batch: Any,
    key: Key | None,
    scale: Array | None,
    axis_name: str | None,
) -> _Part:
    def function(params: Params) -> tuple[Array, tuple[Array, Array | None, State, PyTree]]:
        value, new_state, metrics = call_loss(loss, params, state, batch, key=key, train=True)
        weight = None
        if isinstance(value, metric.Mean):
            weight = jax.lax.stop_gradient(value.weight.value())
            weight = weight if axis_name is None else jax.lax.psum(weight, axis_name)
            value = value.total.value() / _or_one(weight)
        scaled = value if scale is None else _wide(value) * scale.astype(_wide(value).dtype)
        return scaled, (value, weight, new_state, metrics)

    (_, (value, weight, state, metrics)), gradients = jax.value_and_grad(function, has_aux=True)(params)
    if scale is not None:
        gradients = jax.tree.map(lambda leaf: _wide(leaf) / scale.astype(_wide(leaf).dtype), gradients)
    return _Part(value, weight, gradients, state, metrics)


def _of_parts(
    loss: Loss,
    params: Params,
    state: State,
    batch: Any,
    key: Key | None,
    scale: Array | None,
    axis_name: str | None,
    parts: int,
) -> _Part:
    size = data_size(batch)
    if size % parts:
        raise ValueError(f"make_step: a batch of {size} examples cannot be cut into accumulate={parts} equal parts")
    cut = jax.tree.map(lambda leaf: jnp.reshape(leaf, (parts, size // parts, *jnp.shape(leaf)[1:])), batch)

    def one(carry: tuple[Params, State], part: tuple[Any, Array]) -> tuple[tuple[Params, State], Any]:
        total, state = carry
        rows, number = part
        note_rows(rows, part_of=batch)
        new = _of_part(loss, params, state, rows, subkey(key, number), scale, axis_name)
        total = jax.tree.map(lambda before, leaf: before + _scaled(_wide(leaf), new.weight), total, new.gradients)
        kept = jax.tree.map(vary_like, new.state, state)
        return (total, kept), (new.value, new.weight, new.metrics)

    zeros = jax.tree.map(lambda leaf: vary_like(jnp.zeros_like(_wide(leaf)), leaf), params)
    (total, state), (values, weights, metrics) = jax.lax.scan(one, (zeros, state), (cut, jnp.arange(parts)))
    weight = None if weights is None else jnp.sum(weights)
    count = jnp.asarray(parts, jnp.float32) if weight is None else _or_one(weight)
    value, mean = jax.tree.map(
        lambda leaf: leaf / count.astype(leaf.dtype), (jnp.sum(_scaled(_wide(values), weights)), total)
    )
    return _Part(value, weight, mean, state, metric.reduce(metrics))


def _of_each_device(tree: PyTree, axis_name: str) -> PyTree:
    """The same arrays as each device's own.

    `jax.shard_map` with `check_vma=True` adds up the gradients of arrays that are the same on all devices, which would
    leave no gradients of parts to average.
    """
    index = jax.lax.axis_index(axis_name)
    return jax.tree.map(lambda leaf: vary_like(leaf, index), tree)


def _of_devices(part: _Part, axis_name: str) -> _Part:
    """Put the parts of all devices together."""
    value, weight, gradients, state, metrics = part
    combine: Any = jax.lax.pmean if weight is None else jax.lax.psum

    def average(leaf: Array) -> Any:  # what has fractions; counts are the same on all devices
        fractions = jnp.issubdtype(leaf.dtype, jnp.inexact)
        return jax.lax.pmean(leaf, axis_name) if fractions else same_on_all(leaf, axis_name)

    value, gradients = jax.tree.map(lambda leaf: combine(_wide(leaf), axis_name), (value, gradients))
    return _Part(value, weight, gradients, jax.tree.map(average, state), metric.all_reduce(metrics, axis_name))


def _wide(leaf: Array) -> Array:
    """Sums of many small parts need float32 at least: in bfloat16 they stop growing at 256 times a part."""
    return leaf.astype(compute_dtype(leaf))


def _scaled(leaf: Array, weight: Array | None) -> Array:
    return leaf if weight is None else leaf * weight.astype(leaf.dtype)


def _or_one(weight: Array) -> Array:
    """A divisor, 1 where nothing weighs anything: then the sum is 0, and so are the mean and its gradient."""
    return jnp.where(weight == 0, jnp.ones_like(weight), weight)


def call_loss(
    loss: Loss, params: Params, state: State, batch: Any, *, key: Key | None, train: bool
) -> tuple[Array | metric.Mean, State, PyTree]:
    """Call a loss and check what it returns.

    Returns:
        `(value, new_state, metrics)`, with streamable metrics.

    Raises:
        TypeError: if the loss does not return `(value, (new_state, metrics))`, or its value is not one number.
        ValueError: if the new state is not like the old one.

    Example:
        >>> def loss(params, state, batch, *, key, train):
        ...     return jnp.mean(batch)
        >>> call_loss(loss, {}, {}, jnp.ones(2), key=None, train=True)
        Traceback (most recent call last):
        ...
        TypeError: loss: must return (value, (new_state, metrics)), got float32[]; write `return value, (state, {})`
    """
    name = str(getattr(loss, "__name__", "loss")).replace("<lambda>", "loss")
    result: Any = loss(params, state, batch, key=key, train=train)
    if not _is_pair(result) or not _is_pair(result[1]):
        got = f"({', '.join(map(describe, result))})" if _is_pair(result) else describe(result)
        advice = "`return value, (state, {})`"
        raise TypeError(f"{name}: must return (value, (new_state, metrics)), got {got}; write {advice}")
    value, (new_state, metrics) = result
    if not isinstance(value, metric.Mean):
        _check_number(name, value)
    if wrong := differences(new_state, state):
        raise ValueError(
            f"{name}: the state that it returns must be like the state that it was given, in structure, shapes and "
            f"dtypes, but {'; '.join(wrong[:3])}"
        )
    return value, new_state, as_metrics(metrics)


def _is_pair(result: Any) -> bool:
    return isinstance(result, tuple | list) and len(result) == 2 and not isinstance(result, metric.Metric)


def _check_number(name: str, value: Any) -> None:
    if jnp.ndim(value):
        raise TypeError(
            f"{name}: its value must be one number, got {describe(value)}; write jnp.mean(values), or "
            "metrics.mean(values, weights=...) for a weighted mean"
        )
    if not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        raise TypeError(f"{name}: its value must be a floating-point number, got {describe(value)}")


def as_metrics(tree: PyTree) -> PyTree:
    """Turn the plain arrays among a loss's metrics into means, so that all can be added up over batches.

    Example:
        >>> metric.compute(as_metrics({"norm": jnp.array(3.0)}))
        {'norm': Array(3., dtype=float32)}
    """

    def is_metric(node: Any) -> bool:
        return isinstance(node, metric.Metric)

    return jax.tree.map(lambda leaf: leaf if is_metric(leaf) else metric.mean(leaf), tree, is_leaf=is_metric)
