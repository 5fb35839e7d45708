"""What optimizers want to know besides gradients: the loss, its value elsewhere, its gradient elsewhere."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
from typing import Any

import optax

from jaxnets.training.gradient import Gradient
from jaxnets.types import Array, Key, Params, PyTree, State


def argument_names(optimizer: Any) -> frozenset[str]:
    """Return the names of all arguments of an optimizer's functions, and the words by which they look for others.

    The functions of its parts are included.

    Example:
        >>> "value_fn" in argument_names(optax.lbfgs()), "value_fn" in argument_names(optax.adam(0.1))
        (True, False)
    """
    names: set[str] = set()
    for function in _functions(optimizer, set()):
        names.update(inspect.signature(function).parameters, _words(function.__code__))
    return frozenset(names)


def extra_arguments(
    names: frozenset[str],
    gradient: Gradient,
    state: State,
    batch: Any,
    key: Key | None,
    value: Array,
    gradients: Params,
) -> dict[str, Any]:
    """Return those of the arguments that optax has names for which an optimizer asks for.

    `value` and `grad` are those of the step; `value_fn(params)` and `grad_fn(params, i)` compute the loss and its
    gradient for other parameters, on the same batch and with the same key.

    Args:
        names: what the optimizer asks for.
        gradient: see `loss_gradient`.
        state: the model's state before the step.
        batch: of the step.
        key: of the step.
        value: the loss.
        gradients: its gradient.
    """

    def value_fn(params: Params) -> Array:
        return gradient(params, state, batch, key=key)[0]

    def grad_fn(params: Params, _: Any = None) -> Params:
        return gradient(params, state, batch, key=key)[1]

    known = {"value": value, "grad": gradients, "value_fn": value_fn, "grad_fn": grad_fn}
    return {name: argument for name, argument in known.items() if name in names}


def check_lookahead(function: str, params: Params, opt_state: PyTree) -> None:
    """Raise TypeError if `optax.lookahead` is used with parameters that it cannot update.

    Example:
        >>> check_lookahead("make_step", {}, optax.adam(0.1).init({}))
    """
    if isinstance(opt_state, optax.LookaheadState) and not isinstance(params, optax.LookaheadParams):
        raise TypeError(
            f"{function}: optax.lookahead keeps two sets of parameters, so params must be optax.LookaheadParams; write "
            "params = optax.LookaheadParams.init_synced(params), TrainState.create(params, optimizer.init(params), "
            "seed=seed), and a loss that takes params.fast"
        )


def _words(code: types.CodeType) -> Iterator[str]:
    """The strings in a function and in those that it defines."""
    for constant in code.co_consts:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, types.CodeType):
            yield from _words(constant)


def _functions(value: Any, seen: set[int]) -> Iterator[Any]:
    """The functions in a value, in tuples, mappings, partial functions and closures."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Mapping):
        parts = list(value.values())
    elif isinstance(value, tuple | list):
        parts = list(value)
    else:
        inner = [getattr(value, "__wrapped__", None), getattr(value, "func", None), getattr(value, "__self__", None)]
        cells = [cell_content(cell) for cell in getattr(value, "__closure__", None) or ()]
        parts = [part for part in (*inner, *cells) if part is not None]
        if hasattr(value, "__code__"):
            yield value
    for part in parts:
        yield from _functions(part, seen)


def cell_content(cell: Any) -> Any:
    """Return what a closure holds in a cell; None if there is nothing in it yet.

    Example:
        >>> cell_content((lambda number: lambda: number)(3).__closure__[0])
        3
    """
    try:
        return cell.cell_contents
    except ValueError:
        return None
