"""What a compiled program moves between chips, and how long the links take for it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxnets.plan.chips import Machine
from jaxnets.plan.program_text import COLLECTIVE, executed

_ITEM_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "s64": 8, "u64": 8, "f64": 8}


class Collective(NamedTuple):
    """All operations of one kind in a step, for one chip.

    Attributes:
        kind: `all-reduce`, `all-gather`, `reduce-scatter`, `all-to-all` or `collective-permute`.
        number: how many a step has.
        bytes: of their results, for `reduce-scatter` of what goes in.
        seconds: that the links take.
    """

    kind: str
    number: int
    bytes: int
    seconds: float


def collectives(text: str, machine: Machine, coordinates: Sequence[Sequence[int]]) -> tuple[Collective, ...]:
    """Add up what a step moves between chips, by kind, that with the longest time first.

    Args:
        text: the compiled program.
        machine: whose links are used.
        coordinates: of each device of the program within the machine, in the order of the program.
    """
    pieces: dict[str, Collective] = {}
    for number, (times, line) in enumerate(executed(text)):
        if found := COLLECTIVE.search(line):
            channel = re.search(r"channel_id=(\d+)", line)  # the pieces of one operation share it
            one = _operation(found, line, machine, coordinates)
            pieces[channel[1] if channel else f"line {number}"] = _times(times, one)
    added: dict[str, Collective] = {}
    for piece in pieces.values():
        other = added.get(piece.kind, Collective(piece.kind, 0, 0, 0.0))
        added[piece.kind] = Collective(
            piece.kind, other.number + piece.number, other.bytes + piece.bytes, other.seconds + piece.seconds
        )
    return tuple(sorted(added.values(), key=lambda one: (-one.seconds, one.kind)))


def _operation(found: re.Match[str], line: str, machine: Machine, coordinates: Sequence[Sequence[int]]) -> Collective:
    kind, group = found["kind"], first_group(line, len(coordinates))
    size = _bytes(kind, found["type"], bool(found["start"])) * (len(group) if kind == "reduce-scatter" else 1)
    places = np.array([coordinates[device] for device in group])
    return Collective(kind, 1, size, link_seconds(kind, size, places, machine))


def _times(times: int, one: Collective) -> Collective:
    return Collective(one.kind, times, times * one.bytes, times * one.seconds)


def _bytes(kind: str, signature: str, start: bool) -> int:
    """The bytes of a result; of an asynchronous start, which returns its operand too, of what it will give."""
    arrays = re.findall(r"(\w+)\[([\d,]*)\]", signature)
    sizes = [
        _ITEM_BYTES.get(dtype, 4) * math.prod(int(size) for size in dims.split(",") if size) for dtype, dims in arrays
    ]
    if start and kind == "all-gather":
        return sizes[len(sizes) // 2] if len(sizes) > 1 else sizes[0]
    return sizes[0] if start and kind == "collective-permute" else sum(sizes)


def first_group(line: str, devices: int) -> list[int]:
    """Return the numbers of the first devices that exchange data with one another.

    Example:
        >>> first_group("replica_groups={{0,2},{1,3}}", 4), first_group("replica_groups=[2,2]<=[4]", 4)
        ([0, 2], [0, 1])
        >>> first_group("replica_groups=[2,2]<=[2,2]T(1,0)", 4)
        [0, 2]
        >>> first_group("replica_groups=mesh['a'=2,'b'=2] {'a'}", 4)
        [0, 2]
        >>> first_group("source_target_pairs={{1,2},{2,1}}", 4)
        [1, 2]
    """
    if listed := re.search(r"(?:replica_groups|source_target_pairs)=\{\{([\d,]+)\}", line):
        return [int(device) for device in listed[1].split(",")]
    if iota := re.search(r"replica_groups=\[(\d+),(\d+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?", line):
        shape = [int(size) for size in iota[3].split(",")]
        order = [int(axis) for axis in iota[4].split(",")] if iota[4] else range(len(shape))
        numbers = np.arange(math.prod(shape)).reshape(shape).transpose(order)
        return [int(device) for device in numbers.reshape(int(iota[1]), int(iota[2]))[0]]
    if mesh := re.search(r"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\S+)? ?\{([^}]*)\}", line):
        sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", mesh[1])}
        used = set(re.findall(r"'([^']+)'", mesh[2]))
        ranges = [range(size) if name in used else range(1) for name, size in sizes.items()]
        return [int(np.ravel_multi_index(place, tuple(sizes.values()))) for place in itertools.product(*ranges)]
    return list(range(devices))


def link_seconds(kind: str, size: int, coordinates: np.ndarray, machine: Machine) -> float:
    """Return the time that the links of a chip take for one collective, without any latency.

    Along an axis of the machine that the group fills and that is a ring, a chip receives from both sides; else the
    chips at the ends receive from one. Axes are used at once. A gather of S bytes to n chips takes (n - 1) / n S over
    that bandwidth, a reduction with scattering the same, an all-reduce both; all-to-all fills the links across the
    middle of the longest axis, and a permutation takes one link.

    Args:
        kind: of the collective.
        size: bytes; see `Collective`.
        coordinates: of the chips in the group, `[chips, axes]`.
        machine: whose links are used.

    Reference:
        Patarasuk, Yuan: Bandwidth optimal all-reduce algorithms for clusters of workstations, 2009.
    """
    chips = len(coordinates)
    lengths = [len(np.unique(coordinates[:, axis])) for axis in range(len(machine.shape))]
    ways = [
        2 if length == whole and length % machine.chip.closes == 0 else 1
        for length, whole in zip(lengths, machine.shape, strict=True)
    ]
    link = machine.chip.link
    if kind == "collective-permute" or chips == 1:
        return size / link if chips > 1 else 0.0
    if kind == "all-to-all":
        longest = int(np.argmax(lengths))
        return size * lengths[longest] / (4 * link * ways[longest])
    bandwidth = link * sum(way for length, way in zip(lengths, ways, strict=True) if length > 1)
    return (2 if kind == "all-reduce" else 1) * size * (chips - 1) / chips / bandwidth
