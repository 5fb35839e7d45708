"""Weights of PyTorch's networks to and from parameters and state, by a table of names."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from jaxnets.spec import ArraySpec, Spec
from jaxnets.tree import paths
from jaxnets.types import ArrayLike, Params, State
from jaxnets.weights.files import arrange
from jaxnets.weights.torch_layout import (
    LEAVES,
    HostArray,
    axes_of,
    channels_first_rows,
    channels_last_rows,
    from_torch_layout,
    to_torch_layout,
    torch_shape,
)


class Place(NamedTuple):
    """Where the arrays of one of PyTorch's modules are in a spec.

    Attributes:
        path: of the layer, such as `"stages/0/first/conv1/norm"`.
        layer: its position among stacked layers; None if it is not stacked.
        flattened: height, width and channels of the image whose entries are the inputs of this linear layer, None for
            other layers. PyTorch flattens channels first.
    """

    path: str
    layer: int | None = None
    flattened: tuple[int, int, int] | None = None


Names: TypeAlias = Mapping[str, Place]
"""Of each of PyTorch's modules its place in a spec."""


class _Entry(NamedTuple):
    """One array: its name in PyTorch, and where and what it is here."""

    name: str
    leaf_path: str
    spec: ArraySpec
    place: Place

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape here, without the axis of stacked layers."""
        return self.spec.shape if self.place.layer is None else self.spec.shape[1:]

    @property
    def torch_shape(self) -> tuple[int, ...]:
        return torch_shape(self.shape, axes_of(self.spec))


def from_torch(
    weights: Mapping[str, ArrayLike],
    spec: Spec,
    names: Callable[[Spec], Names],
    *,
    ignore: Sequence[str] = (),
) -> tuple[Params, State]:
    """Make the parameters and the state that a spec describes of the `state_dict` of a PyTorch network.

    Args:
        weights: PyTorch's names with numpy arrays or CPU tensors, as `read_torch` returns them or `state_dict()`.
        spec: of the network here.
        names: the network's table of names, such as `resnet_names`.
        ignore: patterns (`"aux1.*"`) of entries that may be there and are not read.

    Returns:
        `(params, state)`, floating arrays in the dtypes of the weights. If `num_batches_tracked` is not among them
        (as in older files), training goes on as after many batches.

    Raises:
        ValueError: if an entry is missing, not expected or of another shape, or the table does not cover the spec;
            the message lists all of them.

    Example:
        >>> import jax
        >>> from jaxnets import init, models
        >>> from jaxnets.weights import lenet5_names
        >>> spec = models.lenet5_spec()
        >>> weights = to_torch(*init(spec, jax.random.key(0)), spec, lenet5_names)
        >>> weights["conv2.weight"].shape
        (16, 6, 5, 5)
        >>> params, state = from_torch(weights, spec, lenet5_names)
    """
    entries = _entries(spec, names(spec))
    arrays = {name: _host(array) for name, array in weights.items() if not _matches(name, ignore)}
    _check(arrays, entries)
    made: dict[str, dict[int | None, HostArray]] = {}
    for entry in entries:
        array = arrays.get(entry.name)
        value = np.asarray(_MANY_BATCHES) if array is None else _from_torch_array(array, entry)
        made.setdefault(entry.leaf_path, {})[entry.place.layer] = value
    return arrange(spec, {path: _stacked(by_index) for path, by_index in made.items()})


def _stacked(by_index: dict[int | None, HostArray]) -> HostArray:
    """The only array, or those of stacked layers as one."""
    return by_index[None] if None in by_index else np.stack([by_index[index] for index in range(len(by_index))])


_MANY_BATCHES = 10**6
"""The count of batch norm if the weights do not say how many batches their statistics have seen."""


def to_torch(params: Params, state: State, spec: Spec, names: Callable[[Spec], Names]) -> dict[str, HostArray]:
    """Make the `state_dict` of a PyTorch network of parameters and state here.

    Args:
        params: as the spec describes them.
        state: as the spec describes it.
        spec: of the network.
        names: the network's table of names, such as `resnet_names`.

    Returns:
        PyTorch's names with numpy arrays in its layout. `module.load_state_dict({name: torch.tensor(array) for name,
        array in ....items()})` loads them, `safetensors.numpy.save_file` writes them.

    Raises:
        ValueError: if the table does not cover the spec.

    Example:
        >>> import jax
        >>> from jaxnets import init, models
        >>> from jaxnets.weights import resnet_names
        >>> spec = models.cifar_resnet_spec(8, width=4)
        >>> weights = to_torch(*init(spec, jax.random.key(0)), spec, resnet_names)
        >>> weights["layer2.0.bn2.running_mean"].shape
        (8,)
    """
    arrays = {**paths(params), **paths(state)}
    result = {}
    for entry in _entries(spec, names(spec)):
        stacked = np.asarray(arrays[entry.leaf_path])
        array = stacked if entry.place.layer is None else stacked[entry.place.layer]
        converted = to_torch_layout(array, axes_of(entry.spec))
        if entry.place.flattened and entry.leaf_path.endswith("kernel"):
            converted = channels_last_rows(converted, entry.place.flattened)
        if entry.name.endswith("num_batches_tracked"):
            converted = converted.astype(np.int64)
        result[entry.name] = np.ascontiguousarray(converted).reshape(converted.shape)
    return result


def _entries(spec: Spec, names: Names) -> list[_Entry]:
    """Every array of PyTorch's network; checks that the table covers the spec."""
    leaves = paths(spec)
    entries = [
        _Entry(f"{module}.{LEAVES[leaf]}", f"{place.path}/{leaf}", leaves[f"{place.path}/{leaf}"], place)
        for module, place in names.items()
        for leaf in _leaves_below(leaves, place.path)
    ]
    left = sorted(set(leaves) - {entry.leaf_path for entry in entries})
    if left:
        raise ValueError(f"the table of names has no module for {', '.join(left)}")
    return entries


def _leaves_below(leaves: Mapping[str, Any], path: str) -> Iterator[str]:
    found = [leaf for leaf in LEAVES if f"{path}/{leaf}" in leaves]
    if not found:
        raise ValueError(f"the table of names has a module for '{path}', where the spec has no arrays")
    yield from found


def _check(arrays: Mapping[str, HostArray], entries: Sequence[_Entry]) -> None:
    """List everything that does not fit."""
    expected = {entry.name: entry.torch_shape for entry in entries}
    optional = {name for name in expected if name.endswith("num_batches_tracked")}
    problems = [
        *(f"missing {name} {list(shape)}" for name, shape in expected.items() if name not in {*arrays, *optional}),
        *(f"unexpected {name} {list(array.shape)}" for name, array in arrays.items() if name not in expected),
        *(
            f"{name} must be {list(shape)}, got {list(arrays[name].shape)}"
            for name, shape in expected.items()
            if name in arrays and arrays[name].shape != shape
        ),
    ]
    if problems:
        raise ValueError("from_torch: the weights do not fit the spec:\n  " + "\n  ".join(problems))


def _from_torch_array(array: HostArray, entry: _Entry) -> HostArray:
    if entry.place.flattened and entry.leaf_path.endswith("kernel"):
        array = channels_first_rows(array, entry.place.flattened)
    return from_torch_layout(array, entry.shape, axes_of(entry.spec))


def _host(array: Any) -> HostArray:
    """A numpy array of an array or a CPU tensor; numpy knows no bfloat16 tensors, so these become float32."""
    if str(getattr(array, "dtype", "")) == "torch.bfloat16":
        array = array.float()
    return np.asarray(array.detach() if hasattr(array, "detach") else array)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
