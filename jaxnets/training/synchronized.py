"""Batch statistics over all devices of a mapped axis, for any network."""

from __future__ import annotations

from typing import Any

from jaxnets.layer import marked
from jaxnets.model import Model
from jaxnets.types import Key, Params, State


def synchronized(model: Model, axis_name: str) -> Model:
    """Let batch norm use the whole batch where it is divided over the devices of a mapped axis.

    That is for `jax.pmap` and `jax.shard_map`, where each device runs the program of one. With `data_parallel` batch
    norm sees the whole batch anyway.

    Args:
        model: a network of layers of this library.
        axis_name: the name of the axis, as in `make_step` and `pmap_step`. Outside of it the model cannot train.

    Returns:
        The model, of the same parameters and state. Layers that are given an `axis_name` already keep it.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets import make_model, nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     y, norm = nn.batch_norm(params["norm"], state["norm"], x, train=train)
        ...     return y, {"norm": norm}
        >>> model = synchronized(make_model({"norm": nn.batch_norm_spec(1)}, apply), "data")
        >>> params, state = model.init(jax.random.key(0))
        >>> def run(x):
        ...     return model.apply(params, state, x, train=True)[1]["norm"]["mean"]
        >>> parts = jnp.array([[[0.0], [2.0]], [[4.0], [6.0]]])  # the parts of two devices
        >>> jax.vmap(run, axis_name="data")(parts).ravel()
        Array([3., 3.], dtype=float32)

    Warning:
        PyTorch's `DistributedDataParallel` leaves each device its own statistics, as without this; its
        `SyncBatchNorm.convert_sync_batchnorm` is this.
    """

    def apply(params: Params, state: State, inputs: Any, *, key: Key | None = None, train: bool) -> tuple[Any, State]:
        return model.apply(marked(params, axis_name=axis_name), state, inputs, key=key, train=train)

    apply.compute_dtype = getattr(model.apply, "compute_dtype", None)  # type: ignore[attr-defined]
    return model._replace(apply=apply)
