"""The IDX format of the MNIST family."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path

import numpy as np

from jaxnets.data.files import read_content
from jaxnets.errors import FileError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The format's codes of element types; all are big-endian."""
MAX_AXES = 32
MAX_BYTES = 1 << 30


def parse_idx(content: bytes, name: str = "the IDX file") -> np.ndarray:
    """Return the array in an IDX file.

    The file has two zero bytes, a byte for the element type, a byte for the number of axes, each axis as a big-endian
    32-bit number, and the elements, big-endian, the last axis fastest.

    Args:
        content: all bytes of the file, decompressed.
        name: its name in errors.

    Returns:
        The array, in native byte order.

    Raises:
        ValueError: if the bytes are not exactly one array.

    Example:
        >>> parse_idx(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 3, 7, 8, 9]))
        array([[7, 8, 9]], dtype=uint8)

    Reference:
        LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise FileError(
            f"{name} is not an IDX file: it begins with {content[:4].hex(' ') or 'nothing'}, not 00 00 and a type"
        )
    axes = content[3]
    start = 4 + 4 * axes
    if not 1 <= axes <= MAX_AXES:
        raise FileError(f"{name} is an IDX file with {axes} axes; 1 to {MAX_AXES} can be read")
    if len(content) < start:
        raise FileError(f"{name} is cut off in its header: {len(content)} bytes where {start} were expected")
    shape = struct.unpack(f">{axes}I", content[4:start])
    dtype = np.dtype(TYPES[content[2]])
    expected = start + math.prod(shape) * dtype.itemsize
    if 0 in shape:
        raise FileError(f"{name} has no elements: its header says {dtype.name} {list(shape)}")
    if len(content) != expected:
        raise FileError(
            f"{name} has {len(content):,} bytes where its header, {dtype.name} {list(shape)}, requires {expected:,}"
        )
    array: np.ndarray = np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))
    return array


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Read an array from an IDX file, decompressed if its name ends in `.gz`.

    Args:
        path: the file.
        max_bytes: the largest number of bytes to read, so that a small compressed file cannot fill the memory.

    Returns:
        The array.

    Raises:
        ValueError: if the file is not exactly one complete IDX array, or has more than `max_bytes`.

    Example:
        `read_idx("mnist/train-images-idx3-ubyte.gz")` is a uint8 array `[60000, 28, 28]`.
    """
    return parse_idx(read_content(Path(path).expanduser(), max_bytes), str(path))
