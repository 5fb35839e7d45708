"""What fits, where a step does not: compiled, not guessed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from jaxnets import sharding
from jaxnets.model import Model
from jaxnets.plan.plan_step import Training, plan_training
from jaxnets.plan.report import Plan
from jaxnets.sharding import Rules


def alternatives(
    load: Callable[[bool], Training], plan: Plan, *, mesh: Mapping[str, int] | None, rules: Rules | None
) -> Iterator[tuple[str, Plan]]:
    """Plan a step in ways that need less memory, one after the other, up to the first that fits.

    FSDP comes first, then remat, then smaller batches; each keeps what came before, if it helped.

    Args:
        load: `load(remat)` returns the training.
        plan: the one that does not fit.
        mesh: as asked.
        rules: as asked.

    Yields:
        What was changed, in words, and the plan.
    """
    training, changes, least = load(False), list[str](), plan.memory.used
    if not rules and plan.chips > 1 and mesh is None and training.model is not None:
        changes.append("FSDP")
        rules = sharding.FSDP
        other = plan_training(training, plan.target, rules=rules, price=plan.price)
        least = other.memory.used
        yield _words(changes), other
        if other.fits:
            return
    config = training.model.config if isinstance(training.model, Model) else None
    if getattr(config, "remat", True) is False:
        recomputing = load(True)
        other = plan_training(recomputing, plan.target, mesh=mesh, rules=rules, price=plan.price)
        yield _words([*changes, "remat"]), other
        if other.fits:
            return
        if other.memory.used < least:
            training = recomputing
            changes.append("remat")
    while (smaller := half_batch(training, plan.chips)) is not None:
        training = smaller
        other = plan_training(training, plan.target, mesh=mesh, rules=rules, price=plan.price)
        yield _words([*changes, f"a batch of {other.batch:,}"]), other
        if other.fits:
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
