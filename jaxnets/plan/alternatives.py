"""What fits, where a step does not: compiled, not guessed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from jaxnets import sharding
from jaxnets.model import Model
from jaxnets.plan.chips import machine
from jaxnets.plan.plan_step import Training, plan_training
from jaxnets.plan.report import Plan
from jaxnets.sharding import Rules


def alternatives(
    load: Callable[[bool], Training],
    target: str,
    *,
    mesh: Mapping[str, int] | None,
    rules: Rules | None,
    price: float | None = None,
) -> Iterator[tuple[str, Plan]]:
    """Plan a step in ways that need less memory, one after the other, up to the first that fits.

    FSDP comes first, then remat, then smaller batches; each keeps what came before.

    Args:
        load: `load(remat)` returns the training.
        target: the machine.
        mesh: as asked.
        rules: as asked.
        price: of a chip for an hour.

    Yields:
        What was changed, in words, and the plan.
    """
    training, changes = load(False), []
    if not rules and machine(target).size > 1 and mesh is None and training.model is not None:
        rules = sharding.FSDP
        changes.append("FSDP")
        plan = plan_training(training, target, mesh=mesh, rules=rules, price=price)
        yield _words(changes), plan
        if plan.fits:
            return
    config = training.model.config if isinstance(training.model, Model) else None
    if getattr(config, "remat", True) is False:
        training = load(True)
        changes.append("remat")
        plan = plan_training(training, target, mesh=mesh, rules=rules, price=price)
        yield _words(changes), plan
        if plan.fits:
            return
    while (smaller := half_batch(training, machine(target).size)) is not None:
        training = smaller
        plan = plan_training(training, target, mesh=mesh, rules=rules, price=price)
        yield _words([*changes, f"a batch of {plan.batch:,}"]), plan
        if plan.fits:
            return


def _words(changes: list[str]) -> str:
    return f"with {' and '.join(changes)}"


def half_batch(training: Training, parts: int) -> Training | None:
    """Return the training with half the batch, or None if that cannot be cut into parts."""
    sizes = {leaf.shape[:1] for leaf in jax.tree.leaves(training.batch)}
    if len(sizes) != 1 or not (size := sizes.pop()) or size[0] // 2 < 1 or size[0] % (2 * parts):
        return None

    def halve(leaf: Any) -> Any:
        return jax.ShapeDtypeStruct((leaf.shape[0] // 2, *leaf.shape[1:]), leaf.dtype)

    steps = None if training.steps is None else 2 * training.steps
    return dataclasses.replace(training, batch=jax.tree.map(halve, training.batch), steps=steps)
