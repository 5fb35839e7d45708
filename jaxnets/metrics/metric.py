"""What all metrics share: trees of them are added and converted to numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp

from jaxnets.devices import gather
from jaxnets.types import Array, ArrayLike, DTypeLike, PyTree

Tree = TypeVar("Tree")


@runtime_checkable
class Metric(Protocol):
    """A metric: a pytree with three methods, such as a NamedTuple of arrays. A custom metric needs only these."""

    def merge(self, other: Any) -> Any:
        """Return the metric of the examples of both."""

    def reduce(self) -> Any:
        """Return the metric of all examples, for arrays stacked along a first axis, as by `lax.scan`."""

    def compute(self) -> Any:
        """Return the number; may be traced."""


class Sum(NamedTuple):
    """A sum as an unevaluated pair high + low, with about twice the precision of its dtype.

    In float32, sums of integers are exact up to $2^48$, not $2^24$, and adding a million batches loses no precision.

    Attributes:
        parts: `[..., 2]`, the rounded sum and the rounding error; one array, because each array adds about a
            microsecond to a compiled step.

    Example:
        >>> many, one = to_sum(jnp.float32(2**24)), to_sum(jnp.float32(1))
        >>> many.high + one.high - many.high, many.merge(one).merge(one).value() - many.high
        (Array(0., dtype=float32), Array(2., dtype=float32))

    Reference:
        Knuth, The Art of Computer Programming 2, 4.2.2 (the error of an addition); Dekker, A floating-point technique
        for extending the available precision, 1971.
    """

    parts: Array

    @classmethod
    def of(cls, high: Array, low: Array) -> Sum:
        """Make a sum from its two parts."""
        return cls(jnp.stack([high, low], axis=-1))

    @property
    def high(self) -> Array:
        """The rounded sum."""
        return self.parts[..., 0]

    @property
    def low(self) -> Array:
        """The rounding error."""
        return self.parts[..., 1]

    def merge(self, other: Sum) -> Sum:
        """Add another sum of the same shape."""
        return Sum.of(*_add((self.high, self.low), (other.high, other.low)))

    def reduce(self) -> Sum:
        """Add over the first axis."""
        if self.parts.ndim == 1:
            raise ValueError(
                "metrics.reduce: arrays need a first axis, as from lax.scan, got scalars; "
                "use metrics.merge for the metrics of two batches"
            )
        zero = jnp.zeros((), self.parts.dtype)
        return Sum.of(*jax.lax.reduce((self.high, self.low), (zero, zero), _add, (0,)))

    def value(self) -> Array:
        """Return the sum as one number."""
        return self.high + self.low


def _add(a: tuple[Any, Any], b: tuple[Any, Any]) -> tuple[Array, Array]:
    rounded = a[0] + b[0]
    of_b = rounded - a[0]
    error = (a[0] - (rounded - of_b)) + (b[0] - of_b) + (a[1] + b[1])
    error = jnp.where(jnp.isfinite(rounded), error, 0)  # for an infinite sum it would be NaN
    high = rounded + error
    return high, jnp.where(jnp.isfinite(high), error - (high - rounded), 0)


def detached(x: Array) -> Array:
    """Return `x` without its gradient: metrics are not differentiated."""
    return jax.lax.stop_gradient(x)


def to_sum(x: Array) -> Sum:
    """Return the `Sum` of one batch from its plain sum."""
    return Sum.of(x, jnp.zeros_like(x))


def example_weights(function: str, weights: ArrayLike | None, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return the weights of examples, 1 by default, or raise ValueError if their shape is not `shape`."""
    if weights is None:
        return jnp.ones(shape, dtype)
    array = jnp.asarray(weights)
    if array.shape != shape:
        raise ValueError(
            f"{function}: weights must be {list(shape)}, one per example, got {list(array.shape)}; "
            "write jnp.broadcast_to to spread them"
        )
    return detached(array.astype(dtype))


def merge(first: Tree, second: Tree) -> Tree:
    """Add two trees of metrics; the result is for the examples of both.

    Args:
        first: a metric, or dicts, lists and tuples of metrics.
        second: the same structure for other examples.

    Returns:
        The same structure for all examples.

    Raises:
        TypeError: if a leaf is not a metric, with its path.
        ValueError: if the structures differ.

    Example:
        >>> from jaxnets import metrics
        >>> both = merge({"loss": metrics.mean(jnp.array([1.0, 2.0]))}, {"loss": metrics.mean(jnp.array([6.0]))})
        >>> compute(both)
        {'loss': Array(3., dtype=float32)}
    """
    merged: Tree = _merge(first, second)
    return merged


def reduce(stacked: Tree) -> Tree:
    """Add metrics that `lax.scan`, `vmap` or `pmap` stacked along the first axis.

    Args:
        stacked: metrics whose arrays are `[batches, ...]`.

    Returns:
        The metrics of all examples.

    Raises:
        TypeError: if a leaf is not a metric, with its path.

    Example:
        >>> from jaxnets import metrics
        >>> stacked = jax.vmap(metrics.mean)(jnp.array([[1.0, 2.0], [3.0, 6.0]]))
        >>> compute(reduce(stacked))
        Array(3., dtype=float32)
    """
    reduced: Tree = _reduce(stacked)
    return reduced


def compute(tree: PyTree) -> Any:
    """Convert metrics to numbers.

    Args:
        tree: a metric, or dicts, lists and tuples of metrics. For metrics stacked over seeds or the like, use
            `jax.vmap(compute)`.

    Returns:
        The same tree with an array for each metric, usually a scalar. `float` converts a scalar to a Python number.

    Raises:
        TypeError: if a leaf is not a metric, with its path.

    Example:
        >>> from jaxnets import metrics
        >>> compute({"loss": metrics.mean(jnp.array([1.0, 2.0]))})
        {'loss': Array(1.5, dtype=float32)}
    """
    return _compute(tree)


def all_reduce(tree: Tree, axis_name: str) -> Tree:
    """Add metrics over the devices of a `pmap` or `shard_map`, or over a `vmap`, with a named axis.

    Args:
        tree: the metrics of this device's examples.
        axis_name: the name of the axis.

    Returns:
        The metrics of all devices' examples, on each device. In `jax.shard_map` they can be returned with
        `out_specs=PartitionSpec()`, as `make_step(axis_name=...)` does with gradients and metrics.

    Example:
        >>> from jaxnets import metrics
        >>> def measure(values):
        ...     return all_reduce(metrics.mean(values), "devices")
        >>> compute(jax.vmap(measure, axis_name="devices")(jnp.array([[1.0, 2.0], [3.0, 6.0]])))
        Array([3., 3.], dtype=float32)
    """
    gathered: Tree = jax.tree.map(lambda leaf: gather(leaf, axis_name), tree)
    return reduce(gathered)


def _for_each(function: Callable[..., Any], tree: PyTree, *others: PyTree) -> Any:
    def call(path: Any, metric: Any, *rest: Any) -> Any:
        if not isinstance(metric, Metric):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise TypeError(f"metrics: {name!r} is not a metric but an array or number; write metrics.mean(value)")
        return function(metric, *rest)

    return jax.tree_util.tree_map_with_path(call, tree, *others, is_leaf=lambda node: isinstance(node, Metric))


# Compiled, because loops call these outside compiled programs, where each operation is a separate dispatch.
_merge = jax.jit(lambda first, second: _for_each(lambda a, b: a.merge(b), first, second))
_reduce = jax.jit(lambda stacked: _for_each(lambda metric: metric.reduce(), stacked))
_compute = jax.jit(lambda tree: _for_each(lambda metric: metric.compute(), tree))
