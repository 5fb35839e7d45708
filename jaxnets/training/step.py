"""The training step: a pure function from a train state and a batch to the next train state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxnets.random import subkey
from jaxnets.training.gradient import Loss, loss_gradient
from jaxnets.training.nonfinite import finite_numbers, skip_bad_step
from jaxnets.training.state import TrainState
from jaxnets.types import PyTree

Step: TypeAlias = Callable[[TrainState, Any], tuple[TrainState, PyTree]]
"""`step(train_state, batch) -> (train_state, metrics)`, a pure function."""


class CheckedStep:
    """A step that can also tell whether its numbers were finite; called, it is as any other.

    A compiled program that calls it, and not `checked`, does without the check.

    Attributes:
        checked: `checked(train_state, batch) -> (train_state, metrics, finite)`, where `finite` is what
            `jaxnets.training.nonfinite.finite_numbers` returns.
    """

    def __init__(self, checked: Callable[[TrainState, Any], tuple[TrainState, PyTree, PyTree]]):
        self.checked = checked

    def __call__(self, train_state: TrainState, batch: Any) -> tuple[TrainState, PyTree]:
        """Take the step."""
        after, metrics, _ = self.checked(train_state, batch)
        return after, metrics


def checked_step(step: Step) -> CheckedStep:
    """Return a step that has `checked`; of a plain function it tells nothing.

    What `jax.jit` or `compile_step` made is taken out of it, because the options of a compiler cannot be nested.

    Example:
        >>> step = checked_step(jax.jit(lambda train_state, batch: (train_state, {"sum": batch})))
        >>> step.checked(None, 2)
        (None, {'sum': 2}, {})
    """
    if hasattr(step, "lower"):
        step = getattr(step, "__wrapped__", step)
    return step if isinstance(step, CheckedStep) else CheckedStep(lambda *arguments: (*step(*arguments), {}))


def make_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    skip_nonfinite: int = 0,
    axis_name: str | None = None,
) -> Step:
    """Make the training step of a loss and an optimizer: theta <- theta + update(gradient).

    The step is pure and traceable: pass it to `jax.jit`, `jax.lax.scan`, `jax.vmap` over stacked train states, or to
    the helpers of `jaxnets.training`. The randomness of a step depends on the run's seed and the step's number alone.

    Args:
        loss: `loss(params, state, batch, *, key, train) -> (value, (new_state, metrics))`; see `supervised` and `Loss`.
        optimizer: an optax optimizer. Clipping, schedules and the like are optax's; see also `freeze` and `with_ema`.
        accumulate: the number of equal parts into which each batch is cut; their gradients are averaged one after
            the other, so that a batch needs the memory of one part. With a loss that is a mean over examples, or a
            streamable mean of weighted ones, the result is that of the whole batch, up to rounding; batch norm sees
            one part at a time.
        skip_nonfinite: how many steps with a loss or a gradient that is not finite may be left out in the run. Such
            a step changes nothing but `.step` and `.skipped`, and its metrics count no examples. Further ones are
            taken as they are. 0 looks at nothing and costs nothing.
        axis_name: of the mapped axis, when the step runs under `jax.pmap` (see `pmap_step`): gradients are averaged
            over the devices and metrics added up.

    Returns:
        `step(train_state, batch) -> (train_state, metrics)`. Numbers among the loss's metrics become streamable means.
        Optimizers that need the value of the loss, such as `optax.contrib.reduce_on_plateau`, are given it.

    Raises:
        ValueError: if `accumulate` or `skip_nonfinite` are out of range, or a batch cannot be cut into equal parts.

    Example:
        >>> import optax
        >>> def loss(params, state, batch, *, key, train):
        ...     return jnp.sum((params - batch) ** 2), (state, {})
        >>> step = make_step(loss, optax.sgd(0.25))
        >>> params = jnp.array([4.0])
        >>> start = TrainState.create(params, optax.sgd(0.25).init(params), seed=0)
        >>> after, _ = jax.jit(step)(start, jnp.array([2.0]))
        >>> after.params, int(after.step)
        (Array([3.], dtype=float32), 1)
    """
    if accumulate < 1 or skip_nonfinite < 0:
        raise ValueError(
            f"make_step: need accumulate >= 1 and skip_nonfinite >= 0, got {accumulate=}, {skip_nonfinite=}"
        )
    gradient = loss_gradient(loss, accumulate=accumulate, axis_name=axis_name)

    update = optax.with_extra_args_support(optimizer).update

    def checked(train_state: TrainState, batch: Any) -> tuple[TrainState, PyTree, PyTree]:
        key = subkey(subkey(train_state.key, "step"), train_state.step)
        if axis_name is not None:
            key = subkey(key, jax.lax.axis_index(axis_name))
        value, gradients, state, metrics = gradient(train_state.params, train_state.state, batch, key=key)
        updates, opt_state = update(gradients, train_state.opt_state, train_state.params, value=value)
        params = optax.apply_updates(train_state.params, updates)
        counters = train_state.counters + jnp.array([1, 0, 0], jnp.uint32)
        after = TrainState(params, state, opt_state, counters)
        finite = finite_numbers(value, gradients, updates)
        if skip_nonfinite:
            after, metrics = skip_bad_step(train_state, after, finite, metrics, limit=skip_nonfinite)
            skipped = after.skipped > train_state.skipped
            finite = jax.tree.map(lambda flag: flag | skipped, finite)
        return after, metrics, finite

    return CheckedStep(checked)
