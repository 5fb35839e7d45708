"""A cell run over a sequence, with a derivative that is faster than that of `jax.lax.scan`.

Going back through a scan, every step adds its share to the gradient of every kernel. But what changes of parameters and
inputs do to a step can be computed for all steps at once, up to where the step stops being linear. A simple recurrent
network, h_t = tanh(z_t) with z_t = x_t W + h_(t-1) U + b, changes by

    drive = x' W + x W' + h U' + b'               for all steps at once, one product for each kernel,
    z'_t = drive_t + h'_(t-1) U                   in a loop, one product for each step,
    h'_t = tanh'(z_t) z'_t.

This loop is linear, and JAX transposes it: going back, it does one product for each step, and the gradient of each
kernel is one product over all steps, which sums in float32 where a scan would sum in bfloat16. It is a rule for forward
mode, so that all transformations of JAX work.

This is done here for any cell. Its program (a jaxpr) is read once. Products and sums are linear; the variables like z,
by which changes of parameters and inputs enter the rest, are called entries. Their values are stored on the way
forward, and what follows from them is computed again on the way back; but for results of functions such as tanh, which
are stored instead, because their derivatives follow from them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from jaxnets.nn.check import compute_dtype, vary_like
from jaxnets.types import Array, PyTree

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
_BY_RESULT: dict[str, Callable[[Array], Array]] = {
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
            and "reshape" are linear. Results of "costly" ones and of those of `_BY_RESULT` are stored. All else is
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


def scan_cell(
    cell: Callable[[PyTree, PyTree, Array], tuple[PyTree, PyTree]],
    params: PyTree,
    carry: PyTree,
    x: Array,
    mask: Array | None = None,
    *,
    reverse: bool = False,
) -> tuple[PyTree, PyTree]:
    """Do what `jax.lax.scan` does with `cell(params, carry, x_t) -> (carry, y_t)`.

    Args:
        cell: a function that JAX can trace. It may close over arrays, also over such that are differentiated.
        params: a tree of arrays.
        carry: a tree of arrays, whose structure, shapes and dtypes the cell keeps.
        x: `[time, ...]`.
        mask: booleans `[time, ...]`, False where the carry stays as it is; None for True everywhere. Its axes after the
            first are the first ones of each array of the carry.
        reverse: whether to run from the last step to the first.

    Returns:
        The carry after the last step, and a tree of y `[time, ...]`.

    Example:
        >>> def decay(params, carry, x):
        ...     carry = params * carry + x
        ...     return carry, carry
        >>> carry, y = scan_cell(decay, jnp.float32(0.5), jnp.zeros(()), jnp.array([8.0, 2.0]))
        >>> float(carry), y.tolist()
        (6.0, [8.0, 6.0])
    """
    carry = jax.tree.map(lambda leaf: vary_like(jnp.asarray(leaf), x, params), carry)

    def plain_step(carry: PyTree, items: Any) -> tuple[PyTree, PyTree]:
        new, y = cell(params, carry, items[0])
        return _select(items[1], new, carry), y

    if len(x) == 0 or _has_explicit_axes((params, carry, x)):
        return jax.lax.scan(plain_step, carry, (x, mask), reverse=reverse)
    program, shapes = jax.make_jaxpr(cell, return_shape=True)(params, carry, x[0])
    if program.effects or "custom_vjp_call" in str(program):  # which has no forward mode
        return jax.lax.scan(plain_step, carry, (x, mask), reverse=reverse)
    leaves, structure = jax.tree.flatten(carry)
    program = jax.make_jaxpr(functools.partial(_run_inline, program))(*jax.tree.leaves((params, carry, x[0])))
    step = _read_step(program.jaxpr, len(leaves))
    run = jax.custom_jvp(functools.partial(_run, step, reverse))
    run.defjvp(functools.partial(_run_jvp, step, reverse), symbolic_zeros=True)
    new, y = run([*program.consts, *jax.tree.leaves(params)], leaves, x, mask)
    return jax.tree.unflatten(structure, new), jax.tree.unflatten(jax.tree.structure(shapes[1]), y)


def _has_explicit_axes(tree: PyTree) -> bool:
    """Whether arrays are sharded over a mesh with explicit axes, where what follows would have to say how to shard."""
    kinds = [kind for leaf in jax.tree.leaves(tree) for kind in jax.typeof(leaf).sharding.mesh.axis_types]
    return jax.sharding.AxisType.Explicit in kinds


def _select(mask: Array | None, new: PyTree, old: PyTree) -> PyTree:
    """Take the new carry where the mask `[...]` is True, else the old one."""
    if mask is None:
        return new
    return jax.tree.map(lambda a, b: jnp.where(jnp.expand_dims(mask, range(mask.ndim, a.ndim)), a, b), new, old)


def _run_inline(program: ClosedJaxpr, *args: Array) -> list[Array]:
    """Run a program with the contents of jitted functions in the place of their calls."""
    values = dict(zip((*program.jaxpr.constvars, *program.jaxpr.invars), (*program.consts, *args), strict=True))
    for equation in program.jaxpr.eqns:
        if equation.primitive.name in ("jit", "pjit"):
            outputs = _run_inline(equation.params["jaxpr"], *(_value(values, atom) for atom in equation.invars))
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
    ((axes, _), _), (left, right) = equation.params["dimension_numbers"], map(_type, equation.invars)
    return tuple(axes) == (left.ndim - 1,) and right.ndim == 2


def _variables(atoms: Iterable[Var | Literal]) -> list[Var]:
    return [atom for atom in atoms if not isinstance(atom, Literal)]


def _value(values: Values, atom: Var | Literal) -> Any:
    return atom.val if isinstance(atom, Literal) else values[atom]


def _type(atom: Var | Literal) -> Any:
    """The shape and dtype of a variable."""
    return atom.aval


def _inexact(atoms: Iterable[Any]) -> list[Any]:
    return [atom for atom in atoms if jnp.issubdtype(_type(atom).dtype, jnp.inexact)]


def _read_step(jaxpr: Jaxpr, carries: int) -> Step:
    """Find out what the variables of a program are; its inputs are parameters, carries and x."""
    operations = [_operation(jaxpr, equation) for equation in jaxpr.eqns]
    *params, x = jaxpr.invars
    params, carry = [*jaxpr.constvars, *params[: len(params) - carries]], params[len(params) - carries :]
    stateful, varying = set(carry), {*carry, x}
    for operation in operations:
        for kind in (stateful, varying):
            kind.update(operation.outputs if not kind.isdisjoint(operation.inputs) else ())
    curved = _read_by_what_is_not_linear(operations, jaxpr.outvars, varying)
    entries = _inexact(var for var in (*params, x) if var in curved)
    moving = set(_inexact(var for var in (*params, x) if var not in curved or var not in varying))
    stored: list[Var] = []
    early: list[Var] = []
    for operation in operations:
        if not moving.isdisjoint(operation.inputs):  # it is linear, or the same at every step
            outputs = _inexact(operation.outputs)
            entries.extend(var for var in outputs if var in curved)
            moving.update(var for var in outputs if var not in curved or var not in varying)
        elif operation.kind in ("matmul", "product", "costly", *_BY_RESULT):
            stored.extend(var for var in operation.outputs if var in varying)
        if operation.kind == "matmul" and operation.outputs[0] in varying - stateful:
            kernel = _type(operation.inputs[1])
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
        if operation.kind in ("costly", "other", *_BY_RESULT):
            curved.update(operation.inputs)
        elif operation.kind == "reshape" and summed.isdisjoint(operation.outputs):
            reshaped.update(operation.inputs)
        else:
            summed.update(operation.inputs)
    return curved | (reshaped - summed)


def _evaluate(
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


def _run_at_all_steps(step: Step, operation: Operation, *inputs: Any) -> list[Any]:
    """Run an operation on values of all steps, `[time, ...]` of what varies."""
    axes = [0 if var in step.varying else None for var in operation.inputs]
    if step.varying.isdisjoint(operation.outputs):
        return operation.run(*inputs)
    if operation.kind == "matmul" and axes == [0, None]:
        return [_multiply_rows(operation, *inputs)]
    if operation.kind == "sum" and axes in ([0, None], [None, 0]):
        shape = (len(inputs[axes.index(0)]), *_type(operation.outputs[0]).shape)
        repeated = [value if axis == 0 else _repeat(value, shape) for value, axis in zip(inputs, axes, strict=True)]
        return jax.vmap(operation.run)(*repeated)
    result: list[Any] = jax.vmap(operation.run, axes)(*inputs)
    return result


def _multiply_rows(operation: Operation, left: Array, right: Array, *, transposed: bool = False) -> Array:
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


def _run(
    step: Step, reverse: bool, params: list[Array], carry: list[Array], x: Array, mask: Array | None
) -> tuple[list[Array], list[Array]]:
    final, (y, _, _) = _forward(step, reverse, _fixed_values(step, params), carry, x, mask, [])
    return final, y


def _fixed_values(step: Step, params: Iterable[Array]) -> Values:
    """The values that are the same at every step."""
    values: Values = dict(zip(step.params, params, strict=True))
    _evaluate(step, values, [var for o in step.operations for var in o.outputs if var not in step.varying])
    return values


def _forward(
    step: Step, reverse: bool, fixed: Values, carry: list[Array], x: Array, mask: Array | None, keep: list[Var]
) -> tuple[list[Array], tuple[list[Array], list[Array], list[Array]]]:
    """Run all steps.

    Returns:
        The last carry and, of all steps, y, the carry before the step, and the values of `keep`.
    """
    early = _evaluate(step, fixed | {step.x: x}, step.early, functools.partial(_run_at_all_steps, step))

    def body(carry: list[Array], items: Any) -> Any:
        x, mask, early = items
        values = fixed | dict(zip((step.x, *step.carry, *step.early), (x, *carry, *early), strict=True))
        results = _evaluate(step, values, step.results)
        new, y = results[: len(carry)], results[len(carry) :]
        return _select(mask, new, carry), (y, carry, _evaluate(step, values, keep))

    return jax.lax.scan(body, carry, (x, mask, early), reverse=reverse)


def _run_jvp(step: Step, reverse: bool, primals: Any, tangents: Any) -> Any:
    params, carry, x, mask = primals
    d_params, d_carry, d_x, _ = tangents
    fixed = _fixed_values(step, params)
    final, (y, before, stored) = _forward(step, reverse, fixed, carry, x, mask, step.stored)
    known = dict(zip((step.x, *step.carry, *step.stored), (x, *before, *stored), strict=True))
    moving = {v: d for v, d in zip((*step.params, step.x), (*d_params, d_x), strict=True) if not _is_zero(d)}
    entering = _changes_of_entries(step, fixed | known, moving) if moving else {}
    drive = {var: d for var, d in entering.items() if var in step.varying}
    same = {var: d.astype(compute_dtype(d)) for var, d in entering.items() if var not in step.varying}
    matrices = [o.inputs[1] for o in step.operations if o.kind == "matmul" and o.inputs[1] in fixed]
    transposed = {var: fixed[var].T for var in matrices}

    @functools.partial(jax.checkpoint, prevent_cse=False)  # or JAX would store what is quicker to compute again
    def change(d_carry: list[Array], drive_now: list[Array], known_now: list[Array]) -> list[Array]:
        values = fixed | dict(zip(known, known_now, strict=True))
        entering = {var: d.astype(_type(var).dtype) for var, d in same.items()}
        entering |= dict(zip(drive, drive_now, strict=True))
        return _changes_of_results(step, values, transposed, entering, d_carry)

    def body(d_carry: list[Array], items: Any) -> tuple[list[Array], list[Array]]:
        mask, *items = items
        results = change(d_carry, *items)
        return _select(mask, results[: len(d_carry)], d_carry), results[len(d_carry) :]

    start = [
        vary_like(jnp.zeros_like(c), c) if _is_zero(d) else d
        for c, d in zip(carry, d_carry, strict=True)
        if jnp.issubdtype(c.dtype, jnp.inexact)
    ]
    d_final, d_y = jax.lax.scan(body, start, (mask, list(drive.values()), list(known.values())), reverse=reverse)
    return (final, y), (_complete(d_final, final), _complete(d_y, y))


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero) or tangent.dtype == jax.dtypes.float0


def _complete(tangents: list[Array], primals: list[Array]) -> list[Any]:
    """Put the tangents of integers, which are none, between those of floating-point numbers."""
    rest = iter(tangents)
    return [
        next(rest) if jnp.issubdtype(primal.dtype, jnp.inexact) else np.zeros(primal.shape, jax.dtypes.float0)
        for primal in primals
    ]


def _changes_of_entries(step: Step, values: Values, tangents: Values) -> Values:
    """How entries change at all steps when parameters and inputs do and the carry does not."""

    def entries(arguments: list[Array]) -> list[Array]:
        moved = {var: values[var] for var in (*step.params, step.x)} | dict(zip(tangents, arguments, strict=True))
        moved |= _fixed_values(step, [moved[var] for var in step.params])

        def use(var: Var, value: Any) -> Any:
            """Note the value of an entry. What comes after it is left to the loop."""
            if var not in step.entries:
                return value
            moved[var] = value
            return values[var]

        now = {var: use(var, value) for var, value in moved.items()}
        now |= {var: values[var] for var in (*step.carry, *step.stored) if var not in step.entries}
        _evaluate(step, now, step.entries, functools.partial(_run_at_all_steps, step), use)
        return [moved[var] for var in step.entries]

    _, changes = jax.jvp(entries, ([values[var] for var in tangents],), (list(tangents.values()),))
    return dict(zip(step.entries, changes, strict=True))


def _changes_of_results(
    step: Step, values: Values, transposed: Values, entering: Values, d_carry: list[Array]
) -> list[Array]:
    """How the results of one step change when the carry does, and when `entering` is added to entries."""
    carry, known = _inexact(step.carry), {*step.stored, *step.entries}

    def run(operation: Operation, *inputs: Any) -> list[Any]:
        """A product by a transposed matrix has a product by the matrix itself as its transpose, which is faster."""
        if operation.kind == "matmul" and operation.inputs[1] in transposed:
            return [_multiply_rows(operation, inputs[0], transposed[operation.inputs[1]], transposed=True)]
        if operation.kind in _BY_RESULT and operation.outputs[0] in step.stored:
            return [_known_result(operation.kind, inputs[0], values[operation.outputs[0]])]
        return operation.run(*inputs)

    def results(moved: list[Array], changes: list[Array]) -> list[Array]:
        added = dict(zip(entering, changes, strict=True))

        def use(var: Var, value: Any) -> Any:
            if var not in known:
                return value
            return _replace(value + added[var] if var in added else value, values[var])

        now = {var: use(var, value) for var, value in values.items() if var not in step.stored}
        now |= dict(zip(carry, moved, strict=True))
        return _evaluate(step, now, _inexact(step.results), run, use)

    primals = [values[var] for var in carry], [jnp.zeros_like(d) for d in entering.values()]
    changes: list[Array] = jax.jvp(results, primals, (d_carry, list(entering.values())))[1]
    return changes


@jax.custom_jvp
def _replace(value: Array, known: Array) -> Array:
    """Return what is known of a value, with the derivative of the value."""
    return known


@_replace.defjvp
def _replace_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return primals[1], tangents[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _known_result(kind: str, x: Array, y: Array) -> Array:
    """Return y, the known result of an operation, with the derivative of the operation."""
    return y


@_known_result.defjvp
def _known_result_jvp(kind: str, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    return primals[1], tangents[0] * _BY_RESULT[kind](primals[1])
