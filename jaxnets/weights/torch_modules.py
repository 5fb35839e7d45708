"""Weights of PyTorch's networks to and from parameters and state, by a table of names."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxnets.model import Model
from jaxnets.spec import ArraySpec, Spec
from jaxnets.tree import paths
from jaxnets.types import ArrayLike, Params, State
from jaxnets.weights.files import arrange, misfits
from jaxnets.weights.names import Names, Place, torch_names
from jaxnets.weights.torch_layout import (
    LEAVES,
    HostArray,
    channels_first_rows,
    channels_last_rows,
    from_torch_layout,
    host_array,
    to_torch_layout,
    torch_array,
    torch_shape,
)
from jaxnets.weights.torch_recurrent import recurrent_from_torch, recurrent_to_torch


class _Entry(NamedTuple):
    """One array: its place here and what it is."""

    leaf_path: str
    spec: ArraySpec
    place: Place

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape here, without the axis of stacked layers."""
        return self.spec.shape if self.place.layer is None else self.spec.shape[1:]

    @property
    def torch_shape(self) -> tuple[int, ...]:
        shape = torch_shape(self.shape, self.spec.torch_layout)
        return shape[::-1] if self.place.transposed else shape


def from_torch(
    weights: Mapping[str, ArrayLike],
    model: Model | Spec,
    names: Names | None = None,
    *,
    ignore: Sequence[str] = (),
    prefix: str = "",
    rename: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Params, State]:
    """Make the parameters and the state of a network of the `state_dict` of the same network in PyTorch.

    Args:
        weights: PyTorch's names with numpy arrays or CPU tensors, as `read_torch` returns them or `state_dict()`.
        model: the network here, or its spec.
        names: the place of each of PyTorch's modules in the spec; None for `torch_names(model)`.
        ignore: patterns (`"aux1.*"`) of entries that may be there and are not read.
        prefix: of the names, such as `"module."` of `DataParallel`, `"_orig_mod."` of `torch.compile` and `"model."` of
            Lightning. It is taken off, and entries without it are not read.
        rename: modules that have other names in the file than in `names`: `{"linear": "fc"}` reads `linear.weight` as
            `fc.weight`, `{"backbone.net": ""}` leaves out the two modules around the network, and `{"": "transformer"}`
            puts one around all others. Where several fit, the longest does. They are looked up after the prefix is off.

    Returns:
        `(params, state)`, floating arrays in the dtypes of the weights. If `num_batches_tracked` is not among them
        (as in older files), training goes on as after many batches.

    Raises:
        ValueError: if an entry is missing, not expected or of another shape, or the names do not cover the spec; the
            message lists all of them. Also if the names have a prefix, if nothing has a name to `rename`, or two
            entries would have the same name.

    Example:
        >>> import jax
        >>> from jaxnets import models
        >>> model = models.lenet5()
        >>> weights = to_torch(*model.init(jax.random.key(0)), model)
        >>> weights["conv2.weight"].shape
        (16, 6, 5, 5)
        >>> params, state = from_torch(weights, model)
    """
    spec, names = _spec_and_names(model, names)
    recurrent = _recurrent(spec, names)
    entries = _entries(spec, names, recurrent)
    ignored = [*ignore, *(name for name, places in names.items() if not places)]
    weights = {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
    weights = _renamed(weights, rename)
    _check_prefix(list(weights), [*entries, *(f"{module}.weight_ih_l0" for module in recurrent)], prefix)
    arrays = {name: host_array(array) for name, array in weights.items() if not _matches(name, ignored)}
    filled: dict[str, HostArray] = {}
    for module, path in recurrent.items():
        own = {
            name.removeprefix(f"{module}."): arrays.pop(name) for name in list(arrays) if name.startswith(f"{module}.")
        }
        params = recurrent_from_torch(own, _at(spec, path), module=module)
        filled |= {f"{path}/{name}": np.asarray(array) for name, array in paths(params).items()}
    _check(arrays, entries)
    made: dict[str, dict[int | None, HostArray]] = {}
    for name, parts in entries.items():
        for part, array in zip(parts, _split(arrays.get(name), parts), strict=True):
            if name.endswith("num_batches_tracked"):
                array = np.minimum(array, _MOST_BATCHES)
            made.setdefault(part.leaf_path, {})[part.place.layer] = _from_torch_array(array, part)
    return arrange(spec, filled | {path: _stacked(by_index) for path, by_index in made.items()})


def _recurrent(spec: Spec, names: Names) -> dict[str, str]:
    """The paths of recurrent layers by PyTorch's modules, whose arrays have other names and two biases there."""
    found = {}
    for module, place in names.items():
        if isinstance(place, Place) and any(path.endswith("hidden_kernel") for path in paths(_at(spec, place.path))):
            found[module] = place.path
    return found


def _at(tree: Any, path: str) -> Any:
    """What is at a path of a tree, an empty dict if there is nothing."""
    for step in path.split("/"):
        known = tree if isinstance(tree, dict) else dict(enumerate(tree)) if isinstance(tree, list | tuple) else {}
        tree = known.get(step if isinstance(tree, dict) else int(step) if step.isdigit() else step, {})
    return tree


def _stacked(by_index: dict[int | None, HostArray]) -> HostArray:
    """The only array, or those of stacked layers as one."""
    return by_index[None] if None in by_index else np.stack([by_index[index] for index in range(len(by_index))])


_MOST_BATCHES = 2**30
"""What larger counts become, which int32 might not hold after the next steps."""
_MANY_BATCHES = 10**6
"""The count of batch norm if the weights do not say how many batches their statistics have seen."""


def to_torch(params: Params, state: State, model: Model | Spec, names: Names | None = None) -> dict[str, HostArray]:
    """Make the `state_dict` of a PyTorch network of parameters and state here.

    Args:
        params: as the spec describes them.
        state: as the spec describes it.
        model: the network, or its spec.
        names: the place of each of PyTorch's modules in the spec; None for `torch_names(model)`.

    Returns:
        PyTorch's names with numpy arrays in its layout, bfloat16 ones in float32.
        `module.load_state_dict({name: torch.tensor(array) for name, array in ....items()})` loads them,
        `safetensors.numpy.save_file` writes them.

    Raises:
        ValueError: if the names do not cover the spec.

    Example:
        >>> import jax
        >>> from jaxnets import models
        >>> model = models.cifar_resnet(models.CifarResNetConfig(8, width=4))
        >>> weights = to_torch(*model.init(jax.random.key(0)), model)
        >>> weights["layer2.0.bn2.running_mean"].shape
        (8,)
    """
    arrays = {**paths(params), **paths(state)}
    spec, names = _spec_and_names(model, names)
    recurrent = _recurrent(spec, names)
    result: dict[str, HostArray] = {}
    for module, path in recurrent.items():
        result |= {f"{module}.{name}": array for name, array in recurrent_to_torch(_at(params, path)).items()}
    for name, parts in _entries(spec, names, recurrent).items():
        converted = [_to_torch_array(torch_array(arrays[part.leaf_path]), part) for part in parts]
        array = np.concatenate(converted, axis=_outputs_axis(parts)) if len(parts) > 1 else converted[0]
        if name.endswith("num_batches_tracked"):
            array = array.astype(np.int64)
        result[name] = np.ascontiguousarray(array).reshape(array.shape)
    return result


def _spec_and_names(model: Model | Spec, names: Names | None) -> tuple[Spec, Names]:
    if isinstance(model, Model):
        return model.spec, torch_names(model) if names is None else names
    if names is None:
        raise ValueError("a spec alone does not say the names; pass the model, or names={'conv1': Place('conv1'), ...}")
    return model, names


def _entries(spec: Spec, names: Names, recurrent: Mapping[str, str]) -> dict[str, list[_Entry]]:
    """The parts of every array of PyTorch's network but recurrent layers; checks that the names cover the spec."""
    leaves = {
        path: leaf
        for path, leaf in paths(spec).items()
        if not any(path.startswith(f"{layer}/") for layer in recurrent.values())
    }
    entries: dict[str, list[_Entry]] = {}
    for module, places in names.items():
        if module in recurrent:
            continue
        for place in [places] if isinstance(places, Place) else places:
            for name, leaf_path in _arrays_at(leaves, module, place.path):
                entries.setdefault(name, []).append(_Entry(leaf_path, leaves[leaf_path], place))
    left = sorted(set(leaves) - {part.leaf_path for parts in entries.values() for part in parts})
    if left:
        raise ValueError(f"the names have no module for {', '.join(left)}")
    _check_places(entries)
    return entries


def _check_places(entries: Mapping[str, Sequence[_Entry]]) -> None:
    """Raise ValueError unless every array, or each of its stacked layers, has one module."""
    placed: dict[str, dict[int | None, str]] = {}
    for name, parts in entries.items():
        for part in parts:
            layers = placed.setdefault(part.leaf_path, {})
            if (other := layers.setdefault(part.place.layer, name)) != name:
                raise ValueError(f"the names put both {other!r} and {name!r} at {part.leaf_path!r}")
    leaves = {part.leaf_path: part.spec for parts in entries.values() for part in parts}
    for path, layers in placed.items():
        count = leaves[path].shape[0] if leaves[path].shape else 0
        if set(layers) not in ({None}, set(range(count))):
            there = ", ".join(map(str, layers))
            raise ValueError(f"the names have modules for layers {there} of {path!r}, which has 0 to {count - 1}")


def _arrays_at(leaves: Mapping[str, Any], module: str, path: str) -> Iterator[tuple[str, str]]:
    """Name and path of each array of a module, or of the array that is there."""
    if path in leaves:
        yield module, path
        return
    found = [leaf for leaf in LEAVES if f"{path}/{leaf}" in leaves]
    if not found:
        raise ValueError(f"the names have a module for '{path}', where the spec has no arrays")
    dot = "" if module.endswith("_") else "."
    yield from ((f"{module}{dot}{LEAVES[leaf]}", f"{path}/{leaf}") for leaf in found)


def _outputs_axis(parts: Sequence[_Entry]) -> int:
    """The axis on which PyTorch puts layers that are computed at once one after the other."""
    return -1 if parts[0].place.transposed else 0


def _whole_shape(parts: Sequence[_Entry]) -> tuple[int, ...]:
    shape, axis = list(parts[0].torch_shape), _outputs_axis(parts)
    if len(parts) > 1:
        shape[axis] = sum(part.torch_shape[axis] for part in parts)
    return tuple(shape)


def _split(array: HostArray | None, parts: Sequence[_Entry]) -> list[HostArray]:
    """The parts of an array; only the count of batch norm may be missing."""
    if array is None:
        return [np.asarray(_MANY_BATCHES)]
    if len(parts) == 1:
        return [array]
    axis = _outputs_axis(parts)
    return np.split(array, np.cumsum([part.torch_shape[axis] for part in parts])[:-1], axis=axis)


def _renamed(weights: Mapping[str, ArrayLike], rename: Mapping[str, str]) -> dict[str, ArrayLike]:
    """The weights under the names of the network."""
    modules = {old.strip("."): new.strip(".") for old, new in rename.items()}
    before: dict[str, str] = {}
    unused = set(modules)
    for name in weights:
        fitting = [old for old in modules if not old or name == old or name.startswith(f"{old}.")]
        unused -= set(fitting)
        new = name
        if fitting:
            old = max(fitting, key=len)
            new = ".".join(part for part in (modules[old], name[len(old) :].removeprefix(".")) if part)
        if new in before:
            raise ValueError(f"from_torch: with rename={dict(rename)}, {before[new]!r} and {name!r} are both {new!r}")
        before[new] = name
    if unused:
        raise ValueError(
            f"from_torch: nothing has the name {' or '.join(map(repr, sorted(unused)))} of rename; there are "
            f"{', '.join(sorted({name.partition('.')[0] for name in weights}))}"
        )
    return {new: weights[name] for new, name in before.items()}


def _check_prefix(names: Sequence[str], expected: Sequence[str], prefix: str) -> None:
    """Raise ValueError if the names would fit with another prefix, or none has the one that was given."""
    if prefix and not names:
        raise ValueError(f"from_torch: no name of the weights begins with the prefix {prefix!r}")
    if further := _prefixes(names, expected):
        found = [prefix + start for start in further]
        raise ValueError(
            f"from_torch: the names of the weights have the prefix {' or '.join(map(repr, found))}, which those of the "
            f"network have not; write from_torch(..., prefix={found[0]!r})"
        )
    if 2 * len(names) >= len(expected) and (lacking := _prefixes(expected, names)):
        raise ValueError(
            f"from_torch: the names of the weights lack the prefix {lacking[0]!r}; write "
            f"from_torch({{{lacking[0]!r} + name: array for name, array in weights.items()}}, ...)"
        )


def _prefixes(longer: Sequence[str], shorter: Sequence[str]) -> list[str]:
    """With which prefixes most of the shorter names are longer names, if it is half of them and more than without."""
    known = set(longer)
    starts = {name.removesuffix(end) for end in shorter[:5] for name in longer if name.endswith(f".{end}")}
    found = {start: sum(f"{start}{name}" in known for name in shorter) for start in ("", *sorted(starts))}
    most = max(found.values())
    return (
        [start for start in found if found[start] == most] if 2 * most >= len(shorter) > 0 and most > found[""] else []
    )


def _check(arrays: Mapping[str, HostArray], entries: Mapping[str, Sequence[_Entry]]) -> None:
    """List everything that does not fit."""
    expected = {
        name: _whole_shape(parts)
        for name, parts in entries.items()
        if name in arrays or not name.endswith("num_batches_tracked")
    }
    if problems := misfits(arrays, expected):
        if set(arrays) - set(expected) and set(expected) - set(arrays):
            problems.append("modules of other names in the file are given as rename={'linear': 'fc'}")
        raise ValueError("from_torch: the weights do not fit the spec:\n  " + "\n  ".join(problems))


def _from_torch_array(array: HostArray, entry: _Entry) -> HostArray:
    if entry.place.transposed:
        array = array.T
    if entry.place.flattened and entry.leaf_path.endswith("kernel"):
        array = channels_first_rows(array, entry.place.flattened)
    array = from_torch_layout(array, entry.shape, entry.spec.torch_layout)
    half = jnp.issubdtype(array.dtype, jnp.floating) and array.dtype.itemsize < 4
    return array.astype(np.float32) if entry.spec.is_state and half else array  # statistics, as `init` makes them


def _to_torch_array(array: HostArray, entry: _Entry) -> HostArray:
    """PyTorch's array of one layer; `array` is that of all stacked layers, if there are any."""
    array = array if entry.place.layer is None else array[entry.place.layer]
    array = to_torch_layout(array, entry.spec.torch_layout)
    if entry.place.flattened and entry.leaf_path.endswith("kernel"):
        array = channels_last_rows(array, entry.place.flattened)
    return array.T if entry.place.transposed else array


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
