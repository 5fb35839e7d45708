"""Where the arrays of a network lie on a mesh of devices, by rules from the logical axes of its spec.

`place(model, mesh, rules)` makes a `Placement`, the one argument that says where training runs: `init_train_state`,
`make_step` and `make_evaluate` of `jaxnets.training` take it. Models and losses do not know of it.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxnets.integers import as_integer
from jaxnets.model import Model
from jaxnets.spec import ArraySpec, Spec, assemble
from jaxnets.tree import describe, paths
from jaxnets.types import PyTree


class WherePossible(NamedTuple):
    """The target of a rule that may match nothing, and that leaves an axis whole whose size does not divide.

    Attributes:
        mesh_axes: one name of an axis of the mesh, or several.
    """

    mesh_axes: str | tuple[str, ...]


Target: TypeAlias = str | tuple[str, ...] | WherePossible | None
"""Over which axes of the mesh an axis of an array is divided: one, several, or none, whatever later rules say."""
Rules: TypeAlias = Mapping[str, Target]
"""Targets by logical axis, such as `"hidden"`, or by path pattern and logical axis, such as `"blocks/mlp/*:hidden"`.

Rules are tried in their order. Each axis of an array takes the first one that matches it, and an axis of the mesh is
used once an array.
"""

_AXES = ("features", "in", "hidden", "out", "vocabulary", "heads", "kv_heads", "positions")
FSDP: Rules = {axis: WherePossible("data") for axis in _AXES}
"""Every array is divided over `"data"`, the devices that also divide the batch: parameters, gradients and optimizer
take the memory of one copy. Each block is gathered when it is computed.

Reference:
    Rajbhandari et al., ZeRO: Memory Optimizations Toward Training Trillion Parameter Models, 2020.
"""
TENSOR: Rules = {"heads": "model", "kv_heads": "model", "hidden": "model", "vocabulary": WherePossible("model")}
"""Heads of attention and hidden features of Transformers are divided over `"model"`, and the work with them.

Reference:
    Shoeybi et al., Megatron-LM: Training Multi-Billion Parameter Language Models Using Model Parallelism, 2019.
"""
FSDP_TENSOR: Rules = {**TENSOR, **{axis: target for axis, target in FSDP.items() if axis not in TENSOR}}
"""Both, on a mesh with the axes `"data"` and `"model"`."""


def make_mesh(sizes: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Make a mesh of devices from the sizes of its axes.

    Args:
        sizes: by name of the axis; their product is the number of devices.
        devices: by default all, those of other hosts included.

    Returns:
        A mesh whose axes are left to the compiler (`AxisType.Auto`), as everything here needs it.

    Raises:
        ValueError: if there are more or fewer devices, or a size is no positive integer.
        TypeError: if the sizes are no dict.

    Example:
        >>> dict(make_mesh({"data": 1, "model": 1}, jax.devices()[:1]).shape)
        {'data': 1, 'model': 1}
    """
    if not isinstance(sizes, Mapping):
        raise TypeError(f"make_mesh: sizes must be a dict, such as {{'data': 8}}, got {describe(sizes)}")
    sizes = {name: as_integer("make_mesh", f"the size of {name!r}", size, at_least=1) for name, size in sizes.items()}
    devices = jax.devices() if devices is None else devices
    if math.prod(sizes.values()) != len(devices):
        product = " * ".join(f"{name}={size}" for name, size in sizes.items()) or "no axes"
        raise ValueError(
            f"make_mesh: {product} are {math.prod(sizes.values())} devices, but there are {len(devices)}; change the "
            "sizes, or pass devices=jax.devices()[:n]"
        )
    types = (AxisType.Auto,) * len(sizes)
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=types, devices=devices)


def auto_mesh(mesh: Mesh) -> Mesh:
    """Return the same mesh with axes that are left to the compiler; `jax.make_mesh` makes explicit ones by default.

    Example:
        >>> set(auto_mesh(jax.make_mesh((1,), ("data",), devices=jax.devices()[:1])).axis_types) == {AxisType.Auto}
        True
    """
    if all(kind == AxisType.Auto for kind in mesh.axis_types):
        return mesh
    return Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))


@dataclasses.dataclass(frozen=True, eq=False)
class Placement:
    """Where training runs: a mesh, the axes of it that divide batches, and how arrays of the network are divided.

    Attributes:
        mesh: the devices.
        batch_axes: the axes of the mesh over which each batch is divided.
        partitions: how parameters and state are divided, by path; all others are whole on every device.
    """

    mesh: Mesh
    batch_axes: tuple[str, ...]
    partitions: Mapping[str, PartitionSpec] = dataclasses.field(default_factory=dict)

    def sharding(self, path: str = "") -> NamedSharding:
        """Return the sharding of the array at a path of parameters or state."""
        return NamedSharding(self.mesh, self.partitions.get(path, PartitionSpec()))

    def of_rows(self, dimensions: int = 1) -> NamedSharding:
        """Return the sharding of an array `[batch, ...]`; all axes but the first are left to the compiler."""
        rest = (PartitionSpec.UNCONSTRAINED,) * (dimensions - 1)
        return NamedSharding(self.mesh, PartitionSpec(self.batch_axes or None, *rest))

    @property
    def batch_parts(self) -> int:
        """The number of parts into which a batch is divided."""
        return math.prod(self.mesh.shape[axis] for axis in self.batch_axes)


def place(
    model: Model | Mapping[str, Model] | Spec,
    mesh: Mesh,
    rules: Rules = FSDP,
    *,
    batch_axes: str | Sequence[str] | None = None,
) -> Placement:
    """Say by rules where a network's arrays lie on a mesh.

    Args:
        model: the network, its spec, or several networks by name, as `alternate` trains them.
        mesh: see `make_mesh`; explicit axes are made automatic ones.
        rules: see `Rules`. `FSDP`, `TENSOR` and `FSDP_TENSOR` are tables for Transformers, the first for all networks;
            `{}` leaves all arrays whole on every device. Change a table by `{"head/*:out": None, **FSDP}`.
        batch_axes: the axes of the mesh that divide batches; by default `"data"`, if the mesh has it.

    Returns:
        The placement, for `init_train_state`, `make_step` and `make_evaluate`.

    Raises:
        ValueError: if a rule matches no array, the mesh has no such axis, a size does not divide, an axis of the mesh
            is named twice, or the model has no spec.
        TypeError: if the mesh or the rules are something else.

    Example:
        >>> from jaxnets import models
        >>> model = models.gpt(models.GPTConfig(vocabulary=64, context=8, layers=2, heads=2, features=16))
        >>> placement = place(model, make_mesh({"data": 1, "model": 1}, jax.devices()[:1]), FSDP_TENSOR)
        >>> tuple(placement.partitions["blocks/linear1/kernel"])  # [layers, features, hidden]
        (None, 'data', 'model')
    """
    spec = spec_of(model)
    if spec is None:
        raise ValueError("place: the model has no spec, of which shardings follow; write place(spec, mesh, rules)")
    if not isinstance(mesh, Mesh):
        raise TypeError(f"place: mesh must be a mesh, got {describe(mesh)}; write make_mesh({{'data': 8}})")
    mesh = auto_mesh(mesh)
    axes = (("data",) if "data" in mesh.shape else ()) if batch_axes is None else batch_axes
    axes = (axes,) if isinstance(axes, str) else tuple(axes)
    if unknown := [axis for axis in axes if axis not in mesh.shape]:
        raise ValueError(f"place: batch_axes has {unknown}, but the axes of the mesh are {list(mesh.axis_names)}")
    if len(set(axes)) < len(axes):
        raise ValueError(f"place: batch_axes names an axis of the mesh twice: {list(axes)}")
    return Placement(mesh, axes, partitions(spec, mesh, rules))


def spec_of(model: Model | Mapping[str, Model] | Spec) -> Spec:
    """Return the spec of a network, or of several by name; None if one has none.

    Example:
        >>> from jaxnets import models
        >>> both = {name: models.mlp(models.MLPConfig((2, 1))) for name in ("actor", "critic")}
        >>> list(spec_of(both))
        ['actor', 'critic']
    """
    if isinstance(model, Model):
        return model.spec
    if isinstance(model, Mapping) and any(isinstance(entry, Model) for entry in model.values()):
        specs = {name: spec_of(entry) for name, entry in model.items()}
        return None if None in specs.values() else specs
    return model


def partitions(spec: Spec, mesh: Mesh, rules: Rules) -> dict[str, PartitionSpec]:
    """Return how every array of a spec is divided, by path.

    Raises:
        ValueError: as `place`.
        TypeError: as `place`.

    Example:
        >>> from jaxnets import nn
        >>> mesh = make_mesh({"data": 1}, jax.devices()[:1])
        >>> {path: tuple(axes) for path, axes in partitions(nn.linear_spec(3, 2), mesh, {"kernel:in": "data"}).items()}
        {'bias': (None,), 'kernel': ('data', None)}
    """
    _check_rules(rules)
    for rule, target in rules.items():
        if unknown := [axis for axis in _mesh_axes(target) if axis not in mesh.shape]:
            raise ValueError(
                f"the rule {rule!r}: {target!r} names the mesh axis {unknown[0]!r}, but those of the mesh are "
                f"{list(mesh.axis_names)}; write make_mesh({{{unknown[0]!r}: ..., ...}}), or another rule"
            )
    used: set[str] = set()
    trees = assemble(spec, lambda path, leaf: _Cut("/".join(map(str, path)), leaf).by(rules, mesh, used))
    unused = [rule for rule, target in rules.items() if rule not in used and not isinstance(target, WherePossible)]
    if unused:
        arrays = assemble(spec, lambda path, leaf: f"{'/'.join(map(str, path))}: {', '.join(map(str, leaf.axes))}")
        listed = [text for tree in arrays for text in jax.tree.leaves(tree)]
        shown = "; ".join(listed[:_SHOWN]) + ("; ..." if len(listed) > _SHOWN else "")
        raise ValueError(f"the rule {unused[0]!r} matches no array; the arrays and their axes are {shown}")
    return {path: partition for tree in trees for path, partition in _by_path(tree).items()}


_SHOWN = 40


def _check_rules(rules: Any) -> None:
    """Raise unless these are `Rules`."""
    if not isinstance(rules, Mapping):
        raise TypeError(f"rules must be a dict, such as FSDP or {{'hidden': 'data'}}, got {describe(rules)}")
    for rule, target in rules.items():
        plain = target.mesh_axes if isinstance(target, WherePossible) else target
        names = plain if isinstance(plain, tuple | list) else (plain,)
        is_target = plain is None or all(isinstance(name, str) for name in names)
        if not isinstance(rule, str) or not is_target:
            raise TypeError(
                f"the rule {rule!r}: {target!r} must be text and the name of an axis of the mesh, several names, "
                "WherePossible of them, or None"
            )
        if len(set(names)) < len(names):
            raise ValueError(f"the rule {rule!r}: {target!r} names an axis of the mesh twice")


def _by_path(tree: PyTree) -> dict[str, PartitionSpec]:
    flat = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda node: isinstance(node, PartitionSpec))
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}


def _mesh_axes(target: Target) -> tuple[str, ...]:
    target = target.mesh_axes if isinstance(target, WherePossible) else target
    return () if target is None else (target,) if isinstance(target, str) else tuple(target)


class _Cut(NamedTuple):
    """An array that is to be divided."""

    path: str
    leaf: ArraySpec

    def by(self, rules: Rules, mesh: Mesh, used: set[str]) -> PartitionSpec:
        """Apply rules in their order, and note in `used` which of them match."""
        entries: dict[int, tuple[str, ...]] = {}
        for rule, target in rules.items():
            pattern, _, name = rule.rpartition(":")
            if name not in self.leaf.axes or (pattern and not fnmatch.fnmatchcase(self.path, pattern)):
                continue
            used.add(rule)
            position, axes = self.leaf.axes.index(name), _mesh_axes(target)
            taken = {axis for entry in entries.values() for axis in entry}
            if position in entries or taken & set(axes) or not self._divides(position, rule, target, mesh):
                continue
            entries[position] = axes
        found = (entries.get(position, ()) for position in range(len(self.leaf.shape)))
        return PartitionSpec(*(None if not axes else axes[0] if len(axes) == 1 else axes for axes in found))

    def _divides(self, position: int, rule: str, target: Target, mesh: Mesh) -> bool:
        size, parts = self.leaf.shape[position], math.prod(mesh.shape[axis] for axis in _mesh_axes(target))
        if size % parts == 0:
            return True
        if isinstance(target, WherePossible):
            return False
        name = self.leaf.axes[position]
        raise ValueError(
            f"{self.path!r} {list(self.leaf.shape)}: the axis {name!r} of {size} cannot be divided into {parts} equal "
            f"parts, as the rule {rule!r}: {target!r} says; change its size, or write '{self.path}:{name}': None "
            "before that rule to keep it whole"
        )


def sharding_table(tree: PyTree) -> str:
    """Say for each array how it is divided over devices, and how much of it one device holds, as text to print.

    Args:
        tree: arrays on devices, such as a train state.

    Raises:
        TypeError: if a leaf lies on no device.

    Example:
        >>> import jax.numpy as jnp
        >>> print(sharding_table({"fc": {"kernel": jnp.zeros((4, 2))}}))
        array      shape          divided over  bytes a device
        fc/kernel  float32[4, 2]  one device    32
        -                         1 device      32 of 32
    """
    rows, devices, largest = [("array", "shape", "divided over", "bytes a device")], set(), 0
    for path, leaf in paths(tree).items():
        if not isinstance(getattr(leaf, "sharding", None), jax.sharding.Sharding):
            raise TypeError(
                f"sharding_table: {path!r} is {describe(leaf)}, which lies on no device; pass arrays of JAX"
            )
        held = math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        devices |= leaf.sharding.device_set
        largest += held
        rows.append((path, f"{leaf.dtype}{list(leaf.shape)}", _where(leaf), f"{held:,}"))
    count = f"{len(devices)} device{'s' * (len(devices) != 1)}"
    whole = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
    rows.append(("-", "", count, f"{largest:,} of {whole:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    )


def _where(array: jax.Array) -> str:
    if len(array.sharding.device_set) == 1:
        return "one device"
    if array.sharding.is_fully_replicated:
        return "none, whole on each"
    if not isinstance(array.sharding, NamedSharding):
        return str(array.sharding)
    return ", ".join(axes_of(array.sharding.spec))


def axes_of(partition: PartitionSpec | Sequence[Any]) -> list[str]:
    """Return the axes of the mesh in a partition, or in some of its entries.

    Example:
        >>> axes_of(PartitionSpec(None, ("data", "model"), "rest"))
        ['data', 'model', 'rest']
    """
    entries = (entry if isinstance(entry, tuple) else (entry,) for entry in partition if entry is not None)
    return [axis for entry in entries for axis in entry]
