"""The program of a recurrent cell: what its operations are, and their values at one step or at all of them.

`jaxnets.kernels.scan_cell` says what this is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from jaxnets.nn.check import compute_dtype
from jaxnets.types import Array

Values: TypeAlias = dict[Var, Any]

_RESHAPES = """
broadcast_in_dim convert_element_type copy expand_dims neg pcast pvary reshape sharding_constraint slice split squeeze
transpose
"""
_KINDS = {
    "product": ("conv_general_dilated", "dot_general"),
    "sum": ("add", "add_any", "sub"),
    "join": ("concatenate",),
    "reshape": _RESHAPES.split(),
    "costly": ("cond", "custom_jvp_call", "scan", "while"),
    "exp": ("exp",),
    "logistic": ("logistic",),
    "tanh": ("tanh",),
}
BY_RESULT: dict[str, Callable[[Array], Array]] = {
    "exp": lambda y: y,
    "logistic": lambda y: y * (1 - y),
    "tanh": lambda y: 1 - y * y,
}
"""Derivatives that follow from the result: going back, it is not computed again."""
_CACHE_BYTES = 2**21
"""A kernel of at most this size multiplies x in the loop, where it stays in the cache, a larger one before it."""


class Operation(NamedTuple):
    """One operation of a cell.

    Attributes:
        kind: "product" and "matmul" (the last axis of something by a matrix) are linear in each input, "sum", "join"
            and "reshape" are linear. Results of "costly" ones and of those of `BY_RESULT` are stored. All else is
            "other".
        inputs: its variables, each once.
        outputs: those of its results.
        run: takes the inputs and returns a list of the results.
        settings: of a matmul.
    """

    kind: str
    inputs: list[Var]
    outputs: list[Var]
    run: Callable[..., list[Any]]
    settings: dict[str, Any]


class Step(NamedTuple):
    """The program of a cell.

    Attributes:
        operations: in their order.
        params: the variables that hold parameters and other arrays that are the same at every step.
        carry: those of the carry.
        x: that of the input.
        results: those of the new carry and of y.
        varying: all that depend on `x` or the carry, so that they differ from step to step.
        entries: those by which changes of parameters and inputs enter what is not linear.
        stored: those whose values are kept for the derivative.
        early: products of x that are computed for all steps before the loop.
    """

    operations: list[Operation]
    params: list[Var]
    carry: list[Var]
    x: Var
    results: list[Var | Literal]
    varying: set[Var]
    entries: list[Var]
    stored: list[Var]
    early: list[Var]


def run_inline(program: ClosedJaxpr, *args: Array) -> list[Array]:
    """Run a program with the contents of jitted functions in the place of their calls."""
    values = dict(zip((*program.jaxpr.constvars, *program.jaxpr.invars), (*program.consts, *args), strict=True))
    for equation in program.jaxpr.eqns:
        if equation.primitive.name in ("jit", "pjit"):
            outputs = run_inline(equation.params["jaxpr"], *(_value(values, atom) for atom in equation.invars))
        else:
            operation = _operation(program.jaxpr, equation)
            outputs = operation.run(*(values[var] for var in operation.inputs))
        values.update(zip(equation.outvars, outputs, strict=True))
    return [_value(values, atom) for atom in program.jaxpr.outvars]


def _operation(jaxpr: Jaxpr, equation: JaxprEqn) -> Operation:
    inputs, outputs = list(dict.fromkeys(_variables(equation.invars))), equation.outvars
    kind = next((kind for kind, names in _KINDS.items() if equation.primitive.name in names), "other")
    if kind == "product":
        kind = "other" if len(inputs) < 2 else "matmul" if _is_matmul(equation) else "product"
    alone = jaxpr.replace(constvars=[], invars=inputs, outvars=outputs, eqns=[equation], effects=equation.effects)
    return Operation(kind, inputs, outputs, jaxpr_as_fun(ClosedJaxpr(alone, [])), equation.params)


def _is_matmul(equation: JaxprEqn) -> bool:
    if equation.primitive.name != "dot_general":
        return False
    ((axes, _), _), (left, right) = equation.params["dimension_numbers"], map(type_of, equation.invars)
    return tuple(axes) == (left.ndim - 1,) and right.ndim == 2


def _variables(atoms: Iterable[Var | Literal]) -> list[Var]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]


def _value(values: Values, atom: Var | Literal) -> Any:
    return atom.val if isinstance(atom, Literal) else values[atom]


def type_of(atom: Var | Literal) -> Any:
    """The shape and dtype of a variable."""
    return atom.aval


def inexact(atoms: Iterable[Any]) -> list[Any]:
    """The variables of floating-point and complex numbers."""
    return [atom for atom in atoms if jnp.issubdtype(type_of(atom).dtype, jnp.inexact)]


def read_step(jaxpr: Jaxpr, carries: int) -> Step:
    """Find out what the variables of a program are; its inputs are parameters, carries and x."""
    operations = [_operation(jaxpr, equation) for equation in jaxpr.eqns]
    *params, x = jaxpr.invars
    params, carry = [*jaxpr.constvars, *params[: len(params) - carries]], params[len(params) - carries :]
    stateful, varying = set(carry), {*carry, x}
    for operation in operations:
        for kind in (stateful, varying):
            kind.update(operation.outputs if not kind.isdisjoint(operation.inputs) else ())
    curved = _read_by_what_is_not_linear(operations, jaxpr.outvars, varying)
    entries = inexact(var for var in (*params, x) if var in curved)
    moving = set(inexact(var for var in (*params, x) if var not in curved or var not in varying))
    stored: list[Var] = []
    early: list[Var] = []
    for operation in operations:
        if not moving.isdisjoint(operation.inputs):  # it is linear, or the same at every step
            outputs = inexact(operation.outputs)
            entries.extend(var for var in outputs if var in curved)
            moving.update(var for var in outputs if var not in curved or var not in varying)
        elif operation.kind in ("matmul", "product", "costly", *BY_RESULT):
            stored.extend(var for var in operation.outputs if var in varying)
        if operation.kind == "matmul" and operation.outputs[0] in varying - stateful:
            kernel = type_of(operation.inputs[1])
            early.extend(operation.outputs if kernel.size * kernel.dtype.itemsize > _CACHE_BYTES else ())
    stored.extend(var for var in entries if var in varying and var is not x)
    return Step(operations, params, carry, x, jaxpr.outvars, varying, entries, stored, early)


def _read_by_what_is_not_linear(
    operations: list[Operation], results: list[Var | Literal], varying: set[Var]
) -> set[Var]:
    """The variables that are results or inputs of operations that are not linear, in one shape or another.

    Where all shapes of a variable are read so, it is the variable itself.
    """
    curved, reshaped, summed = set(_variables(results)), set[Var](), set[Var]()
    for operation in reversed(operations):
        if varying.isdisjoint(operation.outputs):
            continue
        if operation.kind in ("costly", "other", *BY_RESULT):
            curved.update(operation.inputs)
        elif operation.kind == "reshape" and summed.isdisjoint(operation.outputs):
            reshaped.update(operation.inputs)
        else:
            summed.update(operation.inputs)
    return curved | (reshaped - summed)


def evaluate(
    step: Step,
    values: Values,
    wanted: Iterable[Var | Literal],
    run: Callable[..., list[Any]] = lambda operation, *inputs: operation.run(*inputs),
    use: Callable[[Var, Any], Any] = lambda var, value: value,
) -> list[Any]:
    """The values of variables. They and those that they need are added to `values`, as `use(variable, value)`."""
    needed, operations = {var for var in _variables(wanted) if var not in values}, []
    for operation in reversed(step.operations):
        if not needed.isdisjoint(operation.outputs):
            operations.append(operation)
            needed.update(var for var in operation.inputs if var not in values)
    for operation in reversed(operations):
        outputs = run(operation, *(values[var] for var in operation.inputs))
        for var, output in zip(operation.outputs, outputs, strict=True):
            values.setdefault(var, use(var, output))
    return [_value(values, atom) for atom in wanted]


def run_at_all_steps(step: Step, operation: Operation, *inputs: Any) -> list[Any]:
    """Run an operation on values of all steps, `[time, ...]` of what varies."""
    axes = [0 if var in step.varying else None for var in operation.inputs]
    if step.varying.isdisjoint(operation.outputs):
        return operation.run(*inputs)
    if operation.kind == "matmul" and axes == [0, None]:
        return [multiply_rows(operation, *inputs)]
    if operation.kind == "sum" and axes in ([0, None], [None, 0]):
        shape = (len(inputs[axes.index(0)]), *type_of(operation.outputs[0]).shape)
        repeated = [value if axis == 0 else _repeat(value, shape) for value, axis in zip(inputs, axes, strict=True)]
        return jax.vmap(operation.run)(*repeated)
    result: list[Any] = jax.vmap(operation.run, axes)(*inputs)
    return result


def multiply_rows(operation: Operation, left: Array, right: Array, *, transposed: bool = False) -> Array:
    """Do a matmul, or that by the transpose of its matrix, in one product of all rows: XLA would copy many axes."""
    (_, (axis,)), _ = operation.settings["dimension_numbers"]
    y = jax.lax.dot_general(
        left.reshape((-1, left.shape[-1])),
        right,
        (((1,), (1 - axis if transposed else axis,)), ((), ())),
        precision=operation.settings["precision"],
        preferred_element_type=operation.settings["preferred_element_type"],
    )
    return y.reshape((*left.shape[:-1], y.shape[-1]))


def _repeat(x: Array, shape: tuple[int, ...]) -> Array:
    """Broadcast to `[time, ...]`, as a product: XLA on CPU can be slow at the sum that is the transpose."""
    row = jnp.broadcast_to(x, shape[1:]).reshape((1, -1)).astype(compute_dtype(x))
    return (jnp.ones((shape[0], 1), row.dtype) @ row).reshape(shape).astype(x.dtype)


def fixed_values(step: Step, params: Iterable[Array]) -> Values:
    """The values that are the same at every step."""
    values: Values = dict(zip(step.params, params, strict=True))
    evaluate(step, values, [var for o in step.operations for var in o.outputs if var not in step.varying])
    return values
