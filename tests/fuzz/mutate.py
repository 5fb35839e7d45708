"""Damage to the bytes of a file, the same for the same generator."""

import re
import struct

import numpy as np

BOUNDARIES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1]
NUMBERS = [
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"4294967296",
    b"18446744073709551616",
    b"9" * 5000,
    b"1_0",
    b"0x1",
    b"",
    b"1.5",
]
TOKENS = [
    *(b"null", b"true", b'"', b"'", b"\\", b",", b"\n", b"\r\n", b"\0", b"{}", b"[]", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"\xed\xa0\x80", b"\\ud800", "٣".encode(), b"../", b"Infinity", b"[" * 600, b"[" * 100_000, b'{"a":' * 100_000),
]
FORMATS = "BHIQ"


def mutate(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Apply one to four random operations; `other` is another valid file."""
    for _ in range(min(rng.geometric(0.6), 4)):
        content = OPERATIONS[rng.integers(len(OPERATIONS))](content, other, rng)
    return content


def flip_bit(content, other, rng):
    return _replace(content, place := _place(content, rng), 1, bytes([_byte(content, place) ^ 1 << rng.integers(8)]))


def change_byte(content, other, rng):
    return _replace(content, _place(content, rng), 1, rng.bytes(1))


def truncate(content, other, rng):
    return content[: _place(content, rng)]


def extend(content, other, rng):
    return content + [rng.bytes(_length(rng)), bytes(_length(rng)), content[-_length(rng) :]][rng.integers(3)]


def delete(content, other, rng):
    return _replace(content, _place(content, rng), _length(rng), b"")


def insert(content, other, rng):
    return _replace(content, _place(content, rng), 0, rng.bytes(_length(rng)))


def duplicate(content, other, rng):
    place = _place(content, rng)
    return _replace(content, _place(content, rng), 0, content[place : place + _length(rng)])


def replace_integer(content, other, rng):
    """Write a boundary value, or one off it, over an integer of 1 to 8 bytes of either byte order."""
    width = int(rng.integers(4))
    value = BOUNDARIES[rng.integers(len(BOUNDARIES))] + int(rng.integers(-1, 2))
    packed = struct.pack("<>"[rng.integers(2)] + FORMATS[width], value % (1 << (8 << width)))
    return _replace(content, _place(content, rng), len(packed), packed)


def splice(content, other, rng):
    return content[: _place(content, rng)] + other[_place(other, rng) :]


def replace_number(content, other, rng):
    """Write another number over one in ASCII digits, or swap two of them."""
    found = [match.span() for match in re.finditer(rb"\d+", content[:100_000])]
    if not found:
        return content
    start, end = found[rng.integers(len(found))]
    first, last = found[rng.integers(len(found))]
    number = content[first:last] if rng.integers(2) else NUMBERS[rng.integers(len(NUMBERS))]
    return _replace(content, start, end - start, number)


def insert_token(content, other, rng):
    return _replace(content, _place(content, rng), rng.integers(3), TOKENS[rng.integers(len(TOKENS))])


OPERATIONS = [
    *(flip_bit, change_byte, truncate, extend, delete, insert, duplicate, replace_integer, splice, replace_number),
    insert_token,
]


def _place(content, rng):
    """Anywhere, but half of the time in the first 64 bytes, where headers are."""
    limit = min(len(content), 64) if rng.integers(2) else len(content)
    return int(rng.integers(limit + 1))


def _length(rng):
    return int(rng.integers(1, [2, 9, 300][rng.integers(3)]))


def _byte(content, place):
    return content[place] if place < len(content) else 0


def _replace(content, place, length, new):
    return content[:place] + new + content[place + int(length) :]
