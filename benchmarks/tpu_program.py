"""Reading what the TPU compiler wrote into a compiled program: its estimate of cycles, and the operations used."""

from __future__ import annotations

import re
from collections.abc import Iterator


def computations(text: str) -> tuple[dict[str, list[str]], str]:
    """The lines of each computation of a compiled program by its name, and the name of the one it starts with."""
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
    """How often each operation of a program runs, and its line; bodies of loops count once a round."""
    found, entry = computations(text)

    def walk(name: str, times: int) -> Iterator[tuple[int, str]]:
        for line in found[name]:
            if loop := re.search(r" while\(.*condition=%([\w.\-]+), body=%([\w.\-]+)", line):
                yield from walk(loop[2], times * rounds("\n".join(found[loop[1]])))
            else:
                yield times, line

    yield from walk(entry, 1)


def rounds(condition: str) -> int:
    """How many rounds a loop makes: a scan's condition compares its counter with one constant.

    Raises:
        ValueError: if the condition is another one.
    """
    constants = re.findall(r"= s32\[\]\S* constant\((\d+)\)", condition)
    if len(constants) != 1:
        raise ValueError(f"a loop whose number of rounds is not one constant:\n{condition[:500]}")
    return int(constants[0])


def cycles(text: str, operation: str = r"[\w-]+") -> int:
    """The cycles that the compiler estimates for all operations, or for those of one kind, such as `copy`."""
    total = 0
    for times, line in executed(text):
        estimate = re.search(r'"estimated_cycles":"(\d+)"', line)
        if estimate and re.search(rf"= .*? {operation}\(", line):
            total += times * int(estimate[1])
    return total


def count_operations(text: str) -> dict[str, int]:
    """How many products, products of float32 factors, transposes, gathers and hand-written kernels there are."""
    dtypes = dict(re.findall(r"(%[\w.\-]+) = (\w+)\[", text))
    factors = re.findall(r" (?:convolution|dot)\((%[\w.\-]+), (%[\w.\-]+)\)", text)
    return {
        "products": len(factors),
        "float32_products": sum("f32" in (dtypes.get(left), dtypes.get(right)) for left, right in factors),
        "transposes": sum(" transpose(" in line for _, line in executed(text)),
        "gathers": len(re.findall(r" gather\(", text)),
        "kernels": text.count('custom_call_target="tpu_custom_call"'),
    }
