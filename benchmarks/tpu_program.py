"""Reads a program compiled for a TPU: the compiler's estimates of cycles, and the operations."""

from __future__ import annotations

import re
from collections.abc import Iterator


def computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation of a compiled program by name, and the name of the entry computation."""
    found: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in text.splitlines():
        if start := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            found[start[2]] = lines = []
            entry = start[2] if start[1] else entry
        elif line.startswith("  "):
            lines.append(line)
    return found, entry


def executed(text: str) -> Iterator[tuple[int, str]]:
    """The number of executions of each operation of a program, and its line; loop bodies count once per iteration."""
    found, entry = computations(text)

    def walk(name: str, times: int) -> Iterator[tuple[int, str]]:
        for line in found[name]:
            if loop := re.search(r" while\(.*condition=%([\w.\-]+), body=%([\w.\-]+)", line):
                yield from walk(loop[2], times * rounds("\n".join(found[loop[1]])))
            else:
                yield times, line

    yield from walk(entry, 1)


def rounds(condition: str) -> int:
    """The number of iterations of a loop: a scan's condition compares its counter with one constant.

    Raises:
        ValueError: for other conditions.
    """
    constants = re.findall(r"= s32\[\]\S* constant\((\d+)\)", condition)
    if len(constants) != 1:
        raise ValueError(f"a loop whose number of iterations is not one constant:\n{condition[:500]}")
    return int(constants[0])


def cycles(text: str, operation: str = r"[\w-]+") -> int:
    """The compiler's estimate of cycles for all operations, or for those of one kind, such as `copy`."""
    total = 0
    for times, line in executed(text):
        estimate = re.search(r'"estimated_cycles":"(\d+)"', line)
        if estimate and re.search(rf"= .*? {operation}\(", line):
            total += times * int(estimate[1])
    return total


def count_operations(text: str) -> dict[str, int]:
    """The numbers of products, products of float32 factors, transposes, gathers and custom kernels."""
    dtypes = dict(re.findall(r"(%[\w.\-]+) = (\w+)\[", text))
    factors = re.findall(r" (?:convolution|dot)\((%[\w.\-]+), (%[\w.\-]+)\)", text)
    return {
        "products": len(factors),
        "float32_products": sum("f32" in (dtypes.get(left), dtypes.get(right)) for left, right in factors),
        "transposes": sum(" transpose(" in line for _, line in executed(text)),
        "gathers": len(re.findall(r" gather\(", text)),
        "kernels": text.count('custom_call_target="tpu_custom_call"'),
    }
