"""Stops a program at its first training step, for `jaxnets.plan`, which compiles that step for another machine."""

from __future__ import annotations

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from jaxnets.model import Model


class FirstStepReached(BaseException):
    """Raised by the first step in a block of `stop_at_first_step`, with what the step was called with.

    Attributes:
        step: the function.
        train_state: its first argument, arrays or tracers.
        batch: its second argument.
        constants: its third argument, or None.
    """

    def __init__(self, step: Callable[..., Any], train_state: Any, batch: Any, constants: Any):
        super().__init__("the first training step was reached")
        self.step, self.train_state, self.batch, self.constants = step, train_state, batch, constants


class Noted:
    """What a program told before its first step.

    Attributes:
        models: those it initialized, in that order; several by name if they are in one train state.
        data: what `fit` keeps on the device: the data set and that of the validation.
        steps: of the whole run, if `fit` knows.
    """

    def __init__(self) -> None:
        self.models: list[Model | Mapping[str, Model]] = []
        self.data: Any = None
        self.steps: int | None = None


_NOTED: contextvars.ContextVar[Noted | None] = contextvars.ContextVar("jaxnets_first_step", default=None)


@contextlib.contextmanager
def stop_at_first_step() -> Iterator[Noted]:
    """Let the first training step in a `with` block raise `FirstStepReached` instead of being traced or run.

    Example:
        >>> from jaxnets.training import TrainState, make_step
        >>> import jax, jax.numpy as jnp, optax
        >>> step = make_step(lambda *args, **kwargs: None, optax.sgd(0.1))
        >>> with stop_at_first_step():
        ...     try:
        ...         jax.jit(step)(TrainState.create({}, (), seed=0), jnp.ones((8, 2)))
        ...     except FirstStepReached as reached:
        ...         print(reached.batch.shape)
        (8, 2)
    """
    noted = Noted()
    token = _NOTED.set(noted)
    try:
        yield noted
    finally:
        _NOTED.reset(token)


def reach(step: Callable[..., Any], train_state: Any, batch: Any, constants: Any = None) -> None:
    """Raise FirstStepReached within `stop_at_first_step`; a step calls it before all else."""
    if _NOTED.get() is not None:
        raise FirstStepReached(step, train_state, batch, constants)


def watched(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return the step; within `stop_at_first_step` one that reaches itself, unless another within it does so before."""
    if _NOTED.get() is None:
        return step

    @functools.wraps(step)
    def run(*arguments: Any) -> Any:
        result = step(*arguments)
        if len(arguments) in (2, 3):  # what is compiled may also be a function of steps, with arguments of its own
            reach(step, *arguments)
        return result

    return run


def note_model(model: Model | Mapping[str, Model]) -> None:
    """Note a model that is initialized, or several."""
    if (noted := _NOTED.get()) is not None:
        noted.models.append(model)


def note_run(data: Any, steps: int) -> None:
    """Note the data that lie on the device, and how many steps there will be."""
    if (noted := _NOTED.get()) is not None:
        noted.data, noted.steps = data, steps
