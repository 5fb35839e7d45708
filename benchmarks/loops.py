"""The loops of programs whose step takes a state and returns the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peer import Peer


def many_at_once(step: Any, state: Any, data: Any, case: Any, names: Sequence[str] = ("loss",)) -> Peer:
    """jaxnets: as many steps of a case in one dispatch as `fit` takes, on batches drawn on the device.

    Args:
        step: as `make_step` returns.
        state: the train state to begin with.
        data: arrays `[examples, ...]` on the device.
        case: has STEPS and BATCH.
        names: of the metrics that are losses.
    """
    from benchmarks.last_loss import last_loss
    from jaxnets.training import compile_step, scan_data

    run_steps = compile_step(scan_data(step, steps=case.STEPS, batch_size=case.BATCH))

    def run(steps: int) -> float:
        nonlocal state
        for _ in range(steps // case.STEPS):
            state, measured = run_steps(state, data)
        return last_loss(measured, state, names)

    return Peer(run)


def one_by_one(train_step: Callable[..., Any], state: Any, advance: Callable[[], Any]) -> Peer:
    """A compiled step `train_step(state, *batch) -> (state, loss)` for each batch that `advance` returns."""

    def run(steps: int) -> float:
        nonlocal state
        for _ in range(steps):
            state, value = train_step(state, *advance())
        return float(value)

    return Peer(run)
