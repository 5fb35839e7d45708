"""The machines that a plan can be made for: figures of their data sheets, and their devices as the compiler knows them.

The figures are those of Google's pages on the system architecture of Cloud TPU v5e, v5p and v6e
(docs.cloud.google.com/tpu/docs), as of 2026.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import os
import re
from typing import Any, NamedTuple

import jax

from jaxnets.console import library_command
from jaxnets.errors import MissingPackageError


class Chip(NamedTuple):
    """Figures of one chip.

    Attributes:
        peak: FLOP/s of products in bfloat16.
        memory: bytes.
        multiply_adds: of all matrix units in one cycle.
        link: bytes per second of one link to a neighbor, in one direction.
        axes: of the mesh or torus of chips.
        closes: an axis of a slice is a ring if its size is a multiple of this, else a line.
        lanes: rows and columns of a matrix unit.
    """

    peak: float
    memory: int
    multiply_adds: int
    link: float
    axes: int
    closes: int
    lanes: int = 128

    @property
    def clock(self) -> float:
        """Cycles per second at which the matrix units reach the peak."""
        return self.peak / (2 * self.multiply_adds)


CHIPS: dict[str, Chip] = {
    "v5e": Chip(197e12, 16 * 2**30, 4 * 128**2, link=50e9, axes=2, closes=16),
    "v5p": Chip(459e12, 95 * 2**30, 8 * 128**2, link=100e9, axes=3, closes=4),
    "v6e": Chip(918e12, 32 * 2**30, 2 * 256**2, link=100e9, axes=2, closes=16, lanes=256),
}
"""Figures by the first part of a target. The pages give the bandwidth of all links of a chip: 400 GB/s in both
directions for v5e (4 links), 1,200 for v5p (6), 800 for v6e (4)."""

RESERVED = 2**28
"""Bytes of a chip's memory that the compiler leaves to the system; it offers programs 15.75 of 16 GiB on v5e."""


class Machine(NamedTuple):
    """A slice of chips, such as `v5e:4x4`.

    Attributes:
        target: its name.
        chip: the figures of one chip.
        shape: the numbers of chips along its axes.
    """

    target: str
    chip: Chip
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """The number of chips."""
        return math.prod(self.shape)


def machine(target: str) -> Machine:
    """Read the name of a target.

    Args:
        target: chip and shape of the slice, `v5e:4x4` or `v5p:4x4x8`.

    Raises:
        ValueError: if there is no such chip or shape.

    Example:
        >>> machine("v5e:4x4").size
        16
        >>> machine("h100")
        Traceback (most recent call last):
        ...
        ValueError: plan: the target must be a chip and its slice: v5e:1x1 (Colab's), v5e:4x4, v5p:4x4x8; got 'h100'
    """
    name, _, shape = target.partition(":")
    sizes = tuple(map(int, shape.split("x"))) if re.fullmatch(r"[1-9]\d*(x[1-9]\d*)*", shape) else ()
    if name not in CHIPS or len(sizes) != CHIPS[name].axes:
        raise ValueError(
            f"plan: the target must be a chip and its slice: v5e:1x1 (Colab's), v5e:4x4, v5p:4x4x8; got {target!r}"
        )
    return Machine(target, CHIPS[name], sizes)


def devices_of(target: str) -> list[Any]:
    """Return the devices of a machine that is not there; programs can be compiled for them, and not run.

    Raises:
        ValueError: if there is no such target.
        MissingPackageError: an ImportError, if the TPU compiler is not installed.
    """
    wanted = machine(target)
    require_compiler()
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # there is no server that knows the machine
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # several processes may compile at once
    from jax.experimental import topologies

    bounds = (1,) * 3 if wanted.size == 1 else (2, 2, 1)
    try:
        topology = topologies.get_topology_desc(target, platform="tpu", chips_per_host_bounds=bounds)
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        raise ValueError(
            f"plan: the TPU compiler knows no slice {target!r}; shapes are v5e:1x1, or of even sizes: v5e:2x2, 2x4, "
            f"4x4, 4x8, 8x8, 8x16 and 16x16. It says: {error}"
        ) from error
    return list(topology.devices)


def require_compiler() -> None:
    """Raise MissingPackageError, which says how to install it, if there is no TPU compiler."""
    if importlib.util.find_spec("libtpu") is None:
        wanted = (name.split(";")[0].strip() for name in importlib.metadata.requires("jax") or ())
        version = next((name for name in wanted if name.startswith("libtpu")), "libtpu")
        raise MissingPackageError(
            "plan: the TPU compiler, libtpu, is not installed. It needs no TPU (Linux on x86-64). Install it into a "
            f"folder of its own, so that other programs do not look for a TPU, and name that folder for this command:\n"
            f"  pip install --no-deps --target libtpu_folder '{version}'\n"
            f"  PYTHONPATH=libtpu_folder {library_command()} plan ...\n"
            "or, in an environment for this alone: pip install 'jaxnets[tpu]'"
        )
