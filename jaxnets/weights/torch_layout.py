"""How PyTorch names and orders the arrays of one layer."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from jaxnets.spec import TorchLayout

HostArray: TypeAlias = np.ndarray[Any, Any]

LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "embedding": "weight",
    "slope": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "variance": "running_var",
    "count": "num_batches_tracked",
}
"""PyTorch's name of each array."""


def torch_shape(shape: tuple[int, ...], layout: TorchLayout | None) -> tuple[int, ...]:
    """The shape that PyTorch gives an array of this shape and layout."""
    shape_there: tuple[int, ...] = to_torch_layout(np.broadcast_to(np.float32(0), shape), layout).shape
    return shape_there


def to_torch_layout(array: HostArray, layout: TorchLayout | None) -> HostArray:
    """Order the axes of an array of one layer as PyTorch does."""
    if layout == "matrix":
        return np.moveaxis(array, (-1, -2), (0, 1))
    if layout == "to_heads":
        return array.reshape((*array.shape[:-2], -1)).T
    if layout == "from_heads":
        return array.reshape((-1, array.shape[-1])).T
    if layout == "groups":
        array = np.moveaxis(array, (-3, -1, -2), (0, 1, 2))
        return array.reshape((-1, *array.shape[2:]))
    if layout == "depthwise":
        array = np.moveaxis(array, (-2, -1), (0, 1))
        return array.reshape((-1, 1, *array.shape[2:]))
    return array


def from_torch_layout(array: HostArray, shape: tuple[int, ...], layout: TorchLayout | None) -> HostArray:
    """Undo `to_torch_layout` for an array that has here the given shape."""
    if layout == "matrix":
        return np.moveaxis(array, (0, 1), (-1, -2))
    if layout in ("to_heads", "from_heads"):
        return array.T.reshape(shape)
    if layout == "groups":
        apart = array.reshape((shape[-3], shape[-1], shape[-2], *array.shape[2:]))
        return np.moveaxis(apart, (0, 1, 2), (-3, -1, -2))
    if layout == "depthwise":
        return np.moveaxis(array.reshape((*shape[-2:], *array.shape[2:])), (0, 1), (-2, -1))
    return array


def host_array(array: Any) -> HostArray:
    """A numpy array of an array or a CPU tensor, with the same bits: numpy reads no tensors of bfloat16 and float8."""
    if not hasattr(array, "detach"):
        return np.asarray(array)
    array, name = array.detach(), str(array.dtype).removeprefix("torch.")
    if not name.startswith(("bfloat", "float8", "float4")):
        return np.asarray(array)
    try:
        dtype = np.dtype(name)
    except TypeError as error:
        raise ValueError(
            f"JAX does not have the dtype of a tensor of {array.dtype}; write tensor.to(torch.bfloat16)"
        ) from error
    torch: Any = sys.modules["torch"]  # which is there if its tensors are
    bits: HostArray = array.contiguous().view(torch.uint8 if dtype.itemsize == 1 else torch.int16).numpy()
    return bits.view(dtype)


def torch_array(array: Any) -> HostArray:
    """A numpy array that `torch.tensor` takes: bfloat16 and float8, which it does not, become float32, exactly."""
    host = np.asarray(array)
    is_numpys = host.dtype in (np.float16, np.float32, np.float64)
    return host if is_numpys or not jnp.issubdtype(host.dtype, jnp.floating) else host.astype(np.float32)


def channels_first_rows(kernel: HostArray, flattened: tuple[int, int, int]) -> HostArray:
    """Reorder the columns of PyTorch's `[out, channels * height * width]` to `[out, height * width * channels]`."""
    height, width, channels = flattened
    return kernel.reshape((-1, channels, height, width)).transpose((0, 2, 3, 1)).reshape((kernel.shape[0], -1))


def channels_last_rows(kernel: HostArray, flattened: tuple[int, int, int]) -> HostArray:
    """Undo `channels_first_rows`."""
    height, width, channels = flattened
    return kernel.reshape((-1, height, width, channels)).transpose((0, 3, 1, 2)).reshape((kernel.shape[0], -1))
