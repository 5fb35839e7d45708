"""Reads a program compiled for a TPU: which operations run how often, and the compiler's estimates of their cycles."""

from __future__ import annotations

import re
from collections.abc import Iterator

COLLECTIVE = re.compile(
    r"= (?P<type>.*?) (?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?P<start>-start)?\("
)
"""A line that moves data between devices; the second half of an asynchronous one (`-done`) is left out."""


def computations(text: str) -> tuple[dict[str, list[str]], str]:
    """Return the lines of each computation of a compiled program by name, and the name of the entry computation."""
    found: dict[str, list[str]] = {}
    entry, lines = "", list[str]()
    for line in text.splitlines():
        if start := re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{$", line):
            found[start[2]] = lines = []
            entry = start[2] if start[1] else entry
        elif line.startswith("  "):
            lines.append(line)
    return found, entry


def executed(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number of executions of each operation of a program, and its line.

    Loop bodies count once a turn, of conditionals the branch with the most cycles counts. Of fused operations only
    those that move data between devices are yielded, beside the fusion.
    """
    found, entry = computations(text)

    def walk(name: str, times: int) -> Iterator[tuple[int, str]]:
        for line in found[name]:
            if loop := re.search(r" while\(.*condition=%([\w.\-]+), body=%([\w.\-]+)", line):
                yield from walk(loop[2], times * (rounds(line, "\n".join(found[loop[1]])) or 1))
            elif branches := _branches(line):
                yield from max((list(walk(branch, times)) for branch in branches), key=_all_cycles)
            elif called := re.search(r" (?:call|async-start)\(.*(?:to_apply|calls)=%([\w.\-]+)", line):
                yield from walk(called[1], times)
            else:
                yield times, line
                if fused := re.search(r" fusion\(.*calls=%([\w.\-]+)", line):
                    yield from ((times, inner) for inner in found[fused[1]] if COLLECTIVE.search(inner))

    yield from walk(entry, 1)


def _branches(line: str) -> list[str]:
    if " conditional(" not in line:
        return []
    named = re.findall(r"(?:true|false)_computation=%([\w.\-]+)", line)
    listed = re.search(r"branch_computations=\{([^}]*)\}", line)
    return named or (re.findall(r"%([\w.\-]+)", listed[1]) if listed else [])


def rounds(loop: str, condition: str) -> int | None:
    """Return the number of turns of a loop, or None if it is not known.

    Args:
        loop: its line, on which the compiler may say it.
        condition: its condition; that of a scan compares the counter with one constant.
    """
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"\}', loop):
        return int(known[1])
    constants = re.findall(r"= [su]32\[\]\S* constant\((\d+)\)", condition)
    return int(constants[0]) if len(constants) == 1 else None


def unknown_loops(text: str) -> int:
    """Count the loops whose number of turns is not known; `executed` counts their bodies once."""
    found, _ = computations(text)
    loops = re.findall(r"^(.* while\(.*condition=%([\w.\-]+), body=.*)$", text, re.MULTILINE)
    return sum(rounds(line, "\n".join(found[condition])) is None for line, condition in loops)


def cycles(text: str, operation: str = r"[\w-]+") -> int:
    """Return the compiler's estimate of cycles for all operations, or for those of one kind, such as `copy`."""
    return _all_cycles(executed(text), operation)


def _all_cycles(lines: Iterator[tuple[int, str]] | list[tuple[int, str]], operation: str = r"[\w-]+") -> int:
    total = 0
    for times, line in lines:
        estimate = re.search(r'"estimated_cycles":"(\d+)"', line)
        if estimate and not COLLECTIVE.search(line) and re.search(rf"= .*? {operation}\(", line):
            total += times * int(estimate[1])
    return total


def count_operations(text: str) -> dict[str, int]:
    """Count the products, products of float32 factors, transposes, gathers and custom kernels of a program."""
    dtypes = dict(re.findall(r"(%[\w.\-]+) = (\w+)\[", text))
    factors = re.findall(r" (?:convolution|dot)\((%[\w.\-]+), (%[\w.\-]+)\)", text)
    return {
        "products": len(factors),
        "float32_products": sum("f32" in (dtypes.get(left), dtypes.get(right)) for left, right in factors),
        "transposes": sum(" transpose(" in line for _, line in executed(text)),
        "gathers": len(re.findall(r" gather\(", text)),
        "kernels": text.count('custom_call_target="tpu_custom_call"'),
    }
