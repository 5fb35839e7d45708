"""Training on several devices: each works on its part of every batch.

Two ways to the same result. `data_parallel`, and `make_step` with a placement, are for `jax.jit` over a mesh of all
devices, also of several hosts: the program means what it means on one device, batch norm over the whole batch and
dropout included. `pmap_step` is `jax.pmap` over the local devices: the program of one device, with the averages written
out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxnets.processes import put_tree
from jaxnets.sharding import Placement, auto_mesh, make_mesh
from jaxnets.training.placed import check_divisible, placed_step
from jaxnets.training.state import TrainState
from jaxnets.training.step import Step
from jaxnets.training.tune import keep_freed_memory
from jaxnets.types import PyTree


def device_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Make the mesh of data-parallel training: one axis, `"data"`, over all devices.

    Args:
        devices: by default all, those of other hosts included.

    Example:
        >>> dict(device_mesh(jax.devices()[:1]).shape)
        {'data': 1}
    """
    devices = jax.devices() if devices is None else devices
    return make_mesh({"data": len(devices)}, devices)


def replicate(tree: PyTree, mesh: Mesh) -> Any:
    """Put a tree of arrays, such as a train state, on every device of a mesh.

    Args:
        tree: the arrays.
        mesh: see `device_mesh`; explicit axes are made automatic ones.

    Example:
        >>> replicate(jax.numpy.ones(2), device_mesh()).is_fully_replicated
        True
    """
    return put_tree("replicate", "arrays", tree, NamedSharding(auto_mesh(mesh), PartitionSpec()))


def data_parallel(step: Step, mesh: Mesh) -> Step:
    """Make a step that spreads every batch over the devices of a mesh, and keeps the train state on all of them.

    Compile and use it as any other step: with `compile_step`, `scan_steps`, `scan_data` or `fit`. Start from
    `replicate(train_state, mesh)`.

    Args:
        step: `step(train_state, batch) -> (train_state, metrics)`, as `make_step` returns without `axis_name`.
        mesh: see `device_mesh`; explicit axes are made automatic ones.

    Returns:
        A step with the same result up to rounding, because sums are taken in another order.

    Raises:
        ValueError: by the returned step, if a batch cannot be cut into equal parts.

    Example:
        >>> from jaxnets.training import compile_step, make_step
        >>> import jax.numpy as jnp, optax
        >>> def loss(params, state, batch, *, key, train):
        ...     return jnp.mean((params - batch) ** 2), (state, {})
        >>> mesh = device_mesh()
        >>> start = replicate(TrainState.create(jnp.array(0.0), optax.sgd(0.5).init(jnp.array(0.0)), seed=0), mesh)
        >>> step = compile_step(data_parallel(make_step(loss, optax.sgd(0.5)), mesh))
        >>> step(start, jnp.ones(8 * mesh.size))[0].params
        Array(1., dtype=float32)
    """
    mesh = auto_mesh(mesh)
    return placed_step(step, Placement(mesh, mesh.axis_names), function="data_parallel")


def pmap_step(
    step: Callable[[TrainState, Any], tuple[TrainState, PyTree]],
    *,
    axis_name: str = "data",
    batch_axis: int = 0,
    devices: Sequence[jax.Device] | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, PyTree]]:
    """Compile a step with `jax.pmap` over the local devices.

    The batch goes in whole and is cut here; the train state and the metrics keep the shapes they have on one device,
    so that they can be saved, evaluated and read as ever. The train state that is passed in is donated.

    Args:
        step: what `make_step(..., axis_name="data")` returns, or `scan_steps` of it. Batch norm in the model sees the
            whole batch if it is given `axis_name="data"` too.
        axis_name: the same name.
        batch_axis: the axis of the examples in the batch; 1 for the stacked batches of `scan_steps`.
        devices: by default all local devices.

    Returns:
        `run(train_state, batch) -> (train_state, metrics)`. Dropout draws another mask on each device, hence another
        than on one device alone.

    Raises:
        ValueError: by the returned function, if a batch cannot be cut into equal parts.

    Example:
        >>> from jaxnets.training import make_step
        >>> import jax.numpy as jnp, optax
        >>> def loss(params, state, batch, *, key, train):
        ...     return jnp.mean((params - batch) ** 2), (state, {})
        >>> run = pmap_step(make_step(loss, optax.sgd(0.5), axis_name="data"))
        >>> start = TrainState.create(jnp.array(0.0), optax.sgd(0.5).init(jnp.array(0.0)), seed=0)
        >>> run(start, jnp.ones(8 * jax.local_device_count()))[0].params
        Array(1., dtype=float32)
    """
    keep_freed_memory()
    local = jax.local_devices() if devices is None else list(devices)
    mapped = jax.pmap(
        step, axis_name, in_axes=(None, batch_axis), out_axes=(None, None), donate_argnums=0, devices=local
    )

    everywhere = NamedSharding(Mesh(local, (axis_name,)), PartitionSpec())

    def run(train_state: TrainState, batch: Any) -> tuple[TrainState, PyTree]:
        check_divisible("pmap_step", batch, batch_axis, len(local))
        if train_state.step.sharding != everywhere:
            train_state = jax.device_put(train_state, everywhere)

        def cut(leaf: Any) -> Any:
            before, after = leaf.shape[:batch_axis], leaf.shape[batch_axis + 1 :]
            return leaf.reshape(*before, len(local), leaf.shape[batch_axis] // len(local), *after)

        result: tuple[TrainState, PyTree] = mapped(train_state, jax.tree.map(cut, batch))
        return result

    run.is_compiled = True  # type: ignore[attr-defined]
    return run
