"""A step, an evaluation and a train state on a mesh of devices, as a `Placement` says."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxnets.label_check import note_rows
from jaxnets.placement import placed_params
from jaxnets.processes import process_count, put_array, put_tree
from jaxnets.sharding import Placement, auto_mesh
from jaxnets.training.batches import data_size
from jaxnets.training.gradient import Loss
from jaxnets.training.shardings import train_state_shardings
from jaxnets.training.state import Step, TrainState
from jaxnets.tree import paths
from jaxnets.types import Key, Params, PyTree, State


def placed_loss(loss: Loss, placement: Placement) -> Loss:
    """Make a loss whose layers gather their parameters and divide the batch, as the placement says."""

    def on_mesh(params: Params, state: State, batch: Any, *, key: Key | None, train: bool, **constants: PyTree) -> Any:
        rows = data_size(batch)
        batch = rows_on_mesh(batch, rows, placement)
        return loss(placed_params(params, placement, rows), state, batch, key=key, train=train, **constants)

    on_mesh.__name__ = str(getattr(loss, "__name__", "loss"))
    on_mesh.compute_dtype = getattr(loss, "compute_dtype", None)  # type: ignore[attr-defined]
    return on_mesh


def rows_on_mesh(batch: Any, rows: int, placement: Placement) -> Any:
    """Divide a batch over the devices by its rows, if they can be divided into equal parts."""
    if rows % placement.batch_parts:
        return batch
    divided = jax.tree.map(
        lambda leaf: jax.lax.with_sharding_constraint(leaf, placement.of_rows(jnp.ndim(leaf))), batch
    )
    note_rows(divided, part_of=batch)
    return divided


def placed_step(step: Step, placement: Placement, *, function: str = "make_step") -> Step:
    """Make a step that divides every batch over the devices, and keeps the train state where the placement says.

    Args:
        step: `step(train_state, batch, *constants) -> (train_state, metrics)`.
        placement: where arrays lie.
        function: whose name stands in errors.

    Raises:
        ValueError: by the step, if a batch cannot be divided into equal parts, or arrays lie on a mesh with explicit
            axes.
    """

    @functools.wraps(step)
    def on_mesh(train_state: TrainState, batch: Any, *constants: PyTree) -> tuple[TrainState, PyTree]:
        check_divisible(function, batch, 0, placement.batch_parts)
        check_automatic(function, (train_state, batch))
        shardings = train_state_shardings(train_state, placement)
        with jax.sharding.use_abstract_mesh(placement.mesh.abstract_mesh):
            batch = rows_on_mesh(batch, data_size(batch), placement)
            train_state = jax.lax.with_sharding_constraint(train_state, shardings)
            after, metrics = step(train_state, batch, *constants)
        after = jax.lax.with_sharding_constraint(after, shardings)
        return after, jax.lax.with_sharding_constraint(metrics, Placement(placement.mesh, ()).sharding())

    on_mesh.placement = placement  # type: ignore[attr-defined]
    return on_mesh


def check_one_way(function: str, axis_name: str | None, placement: Placement | None) -> None:
    """Raise ValueError if a step is to run as a program for each device and as one for all."""
    if placement is not None and axis_name is not None:
        raise ValueError(
            f"{function}: axis_name is for a program for each device, a placement for one for all; leave one out"
        )


def check_divisible(function: str, batch: Any, axis: int, parts: int) -> None:
    """Raise ValueError unless an axis of all arrays of a batch can be cut into equal parts."""
    for leaf in jax.tree.leaves(batch):
        if jnp.ndim(leaf) <= axis or jnp.shape(leaf)[axis] % parts:
            raise ValueError(
                f"{function}: axis {axis} of every array of a batch is cut into {parts} equal parts, one a device; "
                f"got an array {list(jnp.shape(leaf))}; choose a multiple of {parts} as batch_size, or add examples of "
                "weight 0: supervised takes (inputs, targets, weights)"
            )


def check_automatic(function: str, tree: PyTree) -> None:
    """Raise ValueError if arrays lie on a mesh with explicit axes, as `jax.make_mesh` makes them by default."""
    for path, leaf in paths(tree).items():
        if isinstance(leaf, jax.Array) and AxisType.Explicit in jax.typeof(leaf).sharding.mesh.axis_types:
            raise ValueError(
                f"{function}: the array {path!r} lies on a mesh with explicit axes, which the compiler cannot divide; "
                "write jax.make_mesh(shape, names, axis_types=(jax.sharding.AxisType.Auto,) * len(names)), or "
                "jaxnets.sharding.make_mesh, and replicate(train_state, mesh)"
            )


def automatic(tree: PyTree) -> Any:
    """Return the same arrays on meshes whose axes are left to the compiler."""

    def moved(leaf: Any) -> Any:
        sharding: Any = getattr(leaf, "sharding", None)
        mesh: Any = getattr(sharding, "mesh", None)
        if mesh is None or auto_mesh(mesh) is mesh:
            return leaf
        return jax.device_put(leaf, NamedSharding(auto_mesh(mesh), sharding.spec))

    return jax.tree.map(moved, tree)


def data_on_mesh(name: str, data: Any, train_state: TrainState) -> Any:
    """Put data on every device that a train state lies on; data that are divided over these devices stay so.

    Raises:
        ValueError: if data are divided over other devices.
    """
    sharding = getattr(train_state.step, "sharding", None)
    devices = set() if sharding is None else sharding.device_set
    everywhere = NamedSharding(sharding.mesh, PartitionSpec()) if isinstance(sharding, NamedSharding) else None

    def placed(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array) or len(leaf.sharding.device_set) == 1:
            return put_array(leaf, everywhere)
        if leaf.sharding.device_set != devices:
            raise ValueError(
                f"fit: {name} are divided over {len(leaf.sharding.device_set)} devices, but the train state lies on "
                f"{len(devices)}, maybe others; write replicate(train_state, mesh) with the mesh of the data, or give "
                "fit arrays of NumPy"
            )
        return leaf

    return jax.tree.map(placed, automatic(data))


def on_mesh_of(step: Step, train_state: TrainState, evaluate: Any) -> tuple[TrainState, Any]:
    """Return the train state where the placement of a step says, and the evaluation divided as its batches are."""
    placement: Placement | None = getattr(step, "placement", None)
    train_state = automatic(train_state)
    if placement is None:
        return train_state, evaluate
    train_state = put_tree("fit", "train state", train_state, train_state_shardings(train_state, placement))
    if hasattr(evaluate, "on_mesh") and evaluate.placement is None:
        evaluate = evaluate.on_mesh(placement=placement)
    return train_state, evaluate


def check_in_all_processes(train_state: TrainState) -> None:
    """Raise ValueError if there are several processes, but each would train a network of its own."""
    sharding = getattr(train_state.step, "sharding", None)
    if process_count() > 1 and (sharding is None or sharding.is_fully_addressable):
        raise ValueError(
            f"fit: the train state lies in one process, but there are {process_count()}, each of which would train all "
            "by itself; write data_parallel(step, mesh), with mesh = device_mesh(), or give make_step a placement"
        )
