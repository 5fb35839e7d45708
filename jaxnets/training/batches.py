"""Which examples step n trains on: a pure function of the run's key and n, so there is no iterator to save."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.errors import SettingError
from jaxnets.label_check import check_integers
from jaxnets.random import subkey
from jaxnets.types import Array, Key

_SHAPES = 8
"""How many shapes an error lists."""


def data_size(data: Any) -> int:
    """Return the number of examples in a tree of arrays, the size of the first axis of each.

    Raises:
        TypeError: if there is something else than arrays in it.
        ValueError: if there is no array, the arrays disagree, there are lists of numbers, or an integer does not fit
            32 bits.

    Example:
        >>> data_size({"x": jnp.ones((10, 3)), "y": jnp.ones(10)})
        10
    """
    check_data(data)
    sizes = {jnp.shape(leaf)[0] if jnp.ndim(leaf) else -1 for leaf in jax.tree.leaves(data)}
    if len(sizes) != 1 or -1 in sizes:
        shapes = [str(jnp.shape(leaf)) for leaf in jax.tree.leaves(data)]
        some = ", ".join(shapes[:_SHAPES]) + (f", ... ({len(shapes)} arrays)" if len(shapes) > _SHAPES else "")
        raise ValueError(f"all arrays of a data set need the same first axis, one entry an example; got {some}")
    return sizes.pop()


def check_data(data: Any) -> None:
    """Raise TypeError if a data set holds something else than arrays, such as an iterator or tensors of PyTorch.

    Lists of numbers, and integers that would be cut to 32 bits on the device, are a ValueError.

    Example:
        >>> check_data({"x": np.ones((10, 3)), "y": jnp.ones(10)})
    """
    for leaf in jax.tree.leaves(data, is_leaf=lambda node: hasattr(node, "__next__")):
        if isinstance(leaf, np.ndarray | np.generic | jax.Array | jax.ShapeDtypeStruct) or hasattr(
            leaf, "__jax_array__"
        ):
            check_integers("data", leaf)
            continue
        if isinstance(leaf, bool | int | float):
            raise ValueError(
                f"data must be a tree of NumPy or JAX arrays [examples, ...], got a tree with the number {leaf!r} in "
                "it; lists of numbers, such as labels, have to be arrays: write np.asarray(labels)"
            )
        if hasattr(leaf, "numpy"):
            advice = "write x.numpy()"
        elif hasattr(leaf, "to_numpy"):
            advice = "write x.to_numpy()"
        else:
            advice = (
                "batch n follows from the seed and n, so any example has to be at hand: put the batches of an iterator "
                "together by np.concatenate, or give what has dataset[i] as jaxnets.data.Source(dataset)"
            )
        raise TypeError(
            "data must be a tree of NumPy or JAX arrays [examples, ...], such as (inputs, labels), got a "
            f"{type(leaf).__module__}.{type(leaf).__qualname__} in it; {advice}"
        )


def steps_per_epoch(size: int, batch_size: int) -> int:
    """Return the number of full batches in `size` examples; the incomplete last one is left out of training.

    With shuffling, other examples are left out in every epoch.

    Raises:
        SettingError: a ValueError, if there is not one full batch.

    Example:
        >>> steps_per_epoch(768, 10)
        76
    """
    if not 1 <= batch_size <= size:
        raise SettingError(f"batch_size must be between 1 and the number of examples, {size}; got {batch_size}")
    return size // batch_size


def batch_indices(
    key: Key, first_step: Array | int, steps: int, size: int, batch_size: int, *, shuffle: bool = True
) -> Array:
    """Return the examples of `steps` steps from `first_step` on.

    Epoch e visits the examples in the order of a permutation drawn from `subkey(subkey(key, "shuffle"), e)`.

    Args:
        key: the key of the run.
        first_step: the number of the first step, which may be traced.
        steps: how many steps.
        size: the number of examples in the data set.
        batch_size: examples a step.
        shuffle: False keeps the order of the data set.

    Returns:
        int32 `[steps, batch_size]`.

    Example:
        >>> batch_indices(jax.random.key(0), 1, 2, size=5, batch_size=2, shuffle=False)
        Array([[2, 3],
               [0, 1]], dtype=int32)
    """
    per_epoch = steps_per_epoch(size, batch_size)
    first_epoch, offset = first_step // per_epoch, first_step % per_epoch
    # The steps may begin anywhere in an epoch, so they touch one epoch more than they fill.
    epochs = first_epoch + jnp.arange(1 + math.ceil((steps - 1) / per_epoch))

    orders = jax.vmap(lambda epoch: epoch_order(key, epoch, size, shuffle=shuffle))(epochs)
    used = orders[:, : per_epoch * batch_size].reshape(-1, batch_size)
    return jax.lax.dynamic_slice_in_dim(used, offset, steps).astype(jnp.int32)


def epoch_order(key: Key, epoch: Array | int, size: int, *, shuffle: bool = True) -> Array:
    """Return the order of the examples in an epoch, `[size]`; see `batch_indices`.

    Example:
        >>> sorted(epoch_order(jax.random.key(0), 3, 4).tolist())
        [0, 1, 2, 3]
    """
    return jax.random.permutation(subkey(subkey(key, "shuffle"), epoch), size) if shuffle else jnp.arange(size)
