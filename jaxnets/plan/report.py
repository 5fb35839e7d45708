"""What a plan says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from jaxnets.plan.chips import Chip, machine
from jaxnets.plan.collectives import Collective
from jaxnets.plan.memory import Memory


@dataclasses.dataclass(frozen=True)
class Plan:
    """The compiler's predictions for a training step; `print(plan)` shows them.

    Attributes:
        target: the machine, such as `"v5e:4x4"`.
        mesh: the sizes of its axes.
        rules: how arrays are divided, in words.
        memory: of one device.
        flops: floating-point operations of the products of a step, on all devices: three times those of the forward
            pass, or those that the program has if its loss is not known.
        executed_flops: those that the program has, what it computes again included.
        cycles: the compiler's estimate for one device, without communication and kernels; None if it did not compile.
        kernels: how often kernels run in a step.
        kernel_flops: of these, on one device; see `jaxnets.plan.kernels`.
        collectives: what moves between devices.
        batch: examples of a step.
        tokens: of a step, if its examples are sequences of ids.
        unknown_loops: loops of the program whose turns are not known, and which count once.
        steps: of the whole run, if known.
        price: of a chip for an hour, in any currency, if given.
    """

    target: str
    mesh: Mapping[str, int]
    rules: str
    memory: Memory
    flops: int
    executed_flops: int
    cycles: int | None
    kernels: int
    kernel_flops: float
    collectives: tuple[Collective, ...]
    batch: int
    tokens: int | None = None
    unknown_loops: int = 0
    steps: int | None = None
    price: float | None = None

    @property
    def chip(self) -> Chip:
        """The figures of a chip."""
        return machine(self.target).chip

    @property
    def chips(self) -> int:
        """The number of chips."""
        return machine(self.target).size

    @property
    def fits(self) -> bool:
        """Whether the memory of a chip is enough."""
        return self.memory.fits

    @property
    def compute_seconds(self) -> float:
        """The time of a step without communication: that of the compiler's cycles, and kernels at the chip's peak."""
        return (self.cycles or 0) / self.chip.clock + self.kernel_flops / self.chip.peak

    @property
    def communication_seconds(self) -> float:
        """The time that the links take in a step."""
        return sum(one.seconds for one in self.collectives)

    @property
    def step_seconds(self) -> tuple[float, float]:
        """The time of a step if all communication runs beside computation, and if none does."""
        compute, communication = self.compute_seconds, self.communication_seconds
        return max(compute, communication), compute + communication

    @property
    def mfu(self) -> tuple[float, float]:
        """The share of the chips' peak that `flops` are, for the two times of `step_seconds`, the lower one first."""
        fast, slow = (self.flops / (self.chips * self.chip.peak * seconds) for seconds in self.step_seconds)
        return slow, fast

    @property
    def run_price(self) -> tuple[float, float] | None:
        """The price of all steps, for the two times of `step_seconds`; None if steps or price are not known."""
        if self.steps is None or self.price is None:
            return None
        fast, slow = (self.steps * seconds / 3600 * self.chips * self.price for seconds in self.step_seconds)
        return fast, slow

    def __str__(self) -> str:
        shape = ", ".join(f"{name} {size}" for name, size in self.mesh.items()) or "1 device"
        head = [
            f"{self.target}, {self.chips} chip{'s' * (self.chips > 1)}: {shape}; {self.rules}; batch {self.batch:,}"
        ]
        return "\n".join([*head, "", *self._memory_lines(), *(self._time_lines() if self.cycles is not None else [])])

    def _memory_lines(self) -> list[str]:
        memory = self.memory
        rows = [("parameters", memory.parameters), ("optimizer", memory.optimizer)]
        rows += [("batch, state and constants", memory.other), ("padding to tiles", memory.padding)]
        rows += [("data set", memory.data)]
        rows += [("temporaries", memory.temporaries), ("all", memory.used)]
        notes = {
            "all": f"of {_size(memory.limit)}: {'fits' if self.fits else 'DOES NOT FIT'}",
            "temporaries": ""
            if memory.activations is None
            else f"gradients, and at most {_size(memory.activations)} of activations",
        }
        lines = [
            f"  {name:28}{_size(size):>12}  {notes.get(name, '')}".rstrip() for name, size in rows if size > 50_000
        ]
        return ["memory of a chip", *lines]

    def _time_lines(self) -> list[str]:
        chip, (fast, slow) = self.chip, self.step_seconds
        again = self.executed_flops / self.flops - 1
        note = f", and {again:.0%} more computed again" if again > 0.005 else ""
        lines = ["", "a step"]
        lines += [_row("FLOPs", f"{self.flops / 1e12:,.3g} T{note}")]
        cycles = (self.cycles or 0) / chip.clock
        lines += [_row("operations", f"{_ms(cycles)}  {(self.cycles or 0):,} cycles at {chip.clock / 1e9:.2f} GHz")]
        if self.unknown_loops:
            lines += [_row("", f"{self.unknown_loops} loops without a known number of turns count once")]
        if self.kernels:
            text = f"{_ms(self.kernel_flops / chip.peak)}  {self.kernels} runs, {self.kernel_flops / 1e12:.3g} TFLOP"
            lines += [_row("kernels", f"{text} at {chip.peak / 1e12:.0f} TFLOP/s")]
        for one in self.collectives:
            lines += [_row(one.kind, f"{_ms(one.seconds)}  {one.number:,} of {_size(one.bytes)} in all")]
        if self.collectives:
            lines += [_row("", f"over links of {chip.link / 1e9:.0f} GB/s in each direction")]
        low, high = self.mfu
        span = fast < 0.995 * slow
        lines += [_row("time", _ms(fast) + (f" to {_ms(slow)} (all communication hidden, or none)" if span else ""))]
        lines += [_row("MFU", f"{low:.1%} to {high:.1%}" if span else f"{low:.1%}")]
        for name, count in (("examples/s", self.batch), ("tokens/s", self.tokens)):
            if count:
                lines += [_row(name, f"{count / slow:,.0f} to {count / fast:,.0f}" if span else f"{count / slow:,.0f}")]
        return lines + self._run_lines()

    def _run_lines(self) -> list[str]:
        if self.steps is None:
            return []
        fast, slow = (self.steps * seconds / 3600 for seconds in self.step_seconds)
        hours = f"{fast:,.3g} to {slow:,.3g}" if fast < 0.995 * slow else f"{slow:,.3g}"
        lines = ["", "the run", _row("steps", f"{self.steps:,}"), _row("hours", hours)]
        if self.run_price is not None:
            low, high = self.run_price
            span = f"{low:,.2f} to {high:,.2f}" if low < 0.995 * high else f"{high:,.2f}"
            lines += [_row("price", f"{span}, at {self.price:g} an hour for a chip")]
        return lines


def _row(name: str, text: str) -> str:
    return f"  {name:20}{text}"


def _size(size: float) -> str:
    return f"{size / 2**30:,.2f} GiB" if size >= 2**30 else f"{size / 2**20:,.1f} MiB"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.3g} ms" if seconds < 10 else f"{seconds:,.1f} s"
