"""How layers run whose parameters are divided over devices: gathered, on their part of the batch.

Both are hints for the compiler, which change no value. Without them it may divide what layers compute by the axes of
their parameters instead of the batch, and move much larger arrays.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

from jaxnets.kernels.attention import Split
from jaxnets.layer import NO_MARKS, like_params
from jaxnets.recompute import keep_all_but_gathered
from jaxnets.sharding import Placement, axes_of
from jaxnets.types import Array, PyTree

Result = TypeVar("Result")


class PlacedHere(NamedTuple):
    """The mark of a dict of parameters that says where they lie.

    Attributes:
        placement: of the network.
        path: of the dict.
        rows: how many examples the batch has.
        gathered: whether its arrays are gathered already, by a layer around this one.
    """

    placement: Placement
    path: str
    rows: int
    gathered: bool = False

    def run(self, function: Callable[..., Result], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Result:
        """Run a layer: gather its parameters, and divide inputs and results by the batch."""
        if self.gathered or not args:
            return function(*args, **kwargs)
        params, *inputs = args
        inputs = self._divided(inputs)

        def gather_and_run(params: PyTree) -> Result:
            return function(_gathered(params, self), *inputs, **kwargs)

        if self.gathers and not getattr(params, "marks", NO_MARKS).recomputed:
            gather_and_run = jax.checkpoint(gather_and_run, policy=keep_all_but_gathered)
        divided: Result = self._divided(gather_and_run(params))
        return divided

    @property
    def gathers(self) -> bool:
        """Whether a layer gathers parameters from the devices that divide the batch."""
        divided = {axis for partition in self.placement.partitions.values() for axis in axes_of(partition)}
        return not self.gathered and bool(divided & set(self.placement.batch_axes))

    def split(self) -> Split:
        """Return how batch and heads are divided, if these are the parameters of queries."""
        partition = self.placement.partitions.get(f"{self.path}/kernel", PartitionSpec(None, None))
        heads = axes_of(partition[-2:-1])  # of [..., in, heads, head_dim]
        return Split(self.placement.mesh, self.placement.batch_axes, tuple(heads))

    def _divided(self, tree: PyTree) -> Any:
        return jax.tree.map(lambda leaf: divided_by_rows(leaf, self.rows, self.placement), tree)


def placed_params(params: PyTree, placement: Placement, rows: int, path: str = "") -> PyTree:
    """Mark all dicts of a tree of parameters with where they lie.

    Args:
        params: the parameters of the network.
        placement: of the network.
        rows: how many examples the batch has.
        path: of the tree within the network.
    """
    join = f"{path}/" if path else ""
    if isinstance(params, dict):
        children = {name: placed_params(child, placement, rows, f"{join}{name}") for name, child in params.items()}
        marks = getattr(params, "marks", NO_MARKS)
        return like_params(params, children, marks._replace(placed=PlacedHere(placement, path, rows)))
    if isinstance(params, list):
        return [placed_params(child, placement, rows, f"{join}{i}") for i, child in enumerate(params)]
    return params


def divided_by_rows(leaf: Any, rows: int, placement: Placement) -> Any:
    """Return an array `[rows, ..., features]` divided over the devices by its rows; whatever else as it is."""
    if not isinstance(leaf, jax.Array) or leaf.ndim < 2 or leaf.shape[0] != rows or rows % placement.batch_parts:
        return leaf
    return jax.lax.with_sharding_constraint(leaf, placement.of_rows(leaf.ndim))


def _gathered(params: PyTree, here: PlacedHere) -> PyTree:
    """The same parameters, whole along the axes of the mesh that divide the batch."""
    join = f"{here.path}/" if here.path else ""
    if isinstance(params, dict):
        children = {name: _gathered(child, here._replace(path=f"{join}{name}")) for name, child in params.items()}
        marks = getattr(params, "marks", NO_MARKS)
        return like_params(params, children, marks._replace(placed=here._replace(gathered=True)))
    if isinstance(params, list):
        return [_gathered(child, here._replace(path=f"{join}{i}")) for i, child in enumerate(params)]
    return _gathered_array(params, here)


def _gathered_array(array: Any, here: PlacedHere) -> Any:
    partition, batch_axes = here.placement.partitions.get(here.path), set(here.placement.batch_axes)
    if partition is None or not jnp.issubdtype(jnp.result_type(array), jnp.floating):
        return array
    entries = partition[len(partition) - jnp.ndim(array) :]  # one of stacked blocks lacks the first axis
    if len(entries) != jnp.ndim(array) or not batch_axes & set(axes_of(entries)):
        return array
    whole = PartitionSpec(
        *(tuple(axis for axis in axes_of((entry,)) if axis not in batch_axes) or None for entry in entries)
    )
    mesh = here.placement.mesh
    return _gather(NamedSharding(mesh, whole), NamedSharding(mesh, PartitionSpec(*entries)), array)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _gather(whole: NamedSharding, parts: NamedSharding, array: Array) -> Array:
    """The array with one sharding; its gradient gets the other, so that each device adds up its part only."""
    return _forward(whole, parts, array)[0]


def _forward(whole: NamedSharding, parts: NamedSharding, array: Array) -> tuple[Array, None]:
    return jax.lax.with_sharding_constraint(array, whole), None  # no call of _gather, which the policies could not see


def _backward(whole: NamedSharding, parts: NamedSharding, _: None, cotangent: Array) -> tuple[Array]:
    return (jax.lax.with_sharding_constraint(cotangent, parts),)


_gather.defvjp(_forward, _backward)
