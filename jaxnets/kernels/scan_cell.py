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

This is done here for any cell. Its program (a jaxpr) is read once, by `jaxnets.kernels.cell_program`. Products and sums
are linear; the variables like z, by which changes of parameters and inputs enter the rest, are called entries. Their
values are stored on the way forward, and what follows from them is computed again on the way back; but for results of
functions such as tanh, which are stored instead, because their derivatives follow from them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import ClosedJaxpr, Var, jaxpr_as_fun

from jaxnets.devices import vary_like
from jaxnets.kernels.cell_program import (
    BY_RESULT,
    Operation,
    Step,
    Values,
    evaluate,
    fixed_values,
    inexact,
    multiply_rows,
    read_step,
    run_at_all_steps,
    run_inline,
    type_of,
)
from jaxnets.nn.check import compute_dtype
from jaxnets.types import Array, PyTree


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
    program = jax.make_jaxpr(functools.partial(run_inline, program))(*jax.tree.leaves((params, carry, x[0])))
    step = read_step(program.jaxpr, len(leaves))
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


def _run(
    step: Step, reverse: bool, params: list[Array], carry: list[Array], x: Array, mask: Array | None
) -> tuple[list[Array], list[Array]]:
    final, (y, _, _) = _forward(step, reverse, fixed_values(step, params), carry, x, mask, [])
    return final, y


def _forward(
    step: Step, reverse: bool, fixed: Values, carry: list[Array], x: Array, mask: Array | None, keep: list[Var]
) -> tuple[list[Array], tuple[list[Array], list[Array], list[Array]]]:
    """Run all steps.

    Returns:
        The last carry and, of all steps, y, the carry before the step, and the values of `keep`.
    """
    early = evaluate(step, fixed | {step.x: x}, step.early, functools.partial(run_at_all_steps, step))

    def body(carry: list[Array], items: Any) -> Any:
        x, mask, early = items
        values = fixed | dict(zip((step.x, *step.carry, *step.early), (x, *carry, *early), strict=True))
        results = evaluate(step, values, step.results)
        new, y = results[: len(carry)], results[len(carry) :]
        new = _select(mask, new, carry)
        return new, (y, new, evaluate(step, values, keep))

    final, (y, after, stored) = jax.lax.scan(body, carry, (x, mask, early), reverse=reverse)
    before = [_shift(first, rest, reverse) for first, rest in zip(carry, after, strict=True)]
    return final, (y, before, stored)


def _shift(first: Array, after: Array, reverse: bool) -> Array:
    """The carry before each step, from the first one and those after each step."""
    parts = [after[1:], first[None]] if reverse else [first[None], after[:-1]]
    return jnp.concatenate(parts)


def _run_jvp(step: Step, reverse: bool, primals: Any, tangents: Any) -> Any:
    params, carry, x, mask = primals
    d_params, d_carry, d_x, _ = tangents
    fixed = fixed_values(step, params)
    final, (y, before, stored) = _forward(step, reverse, fixed, carry, x, mask, step.stored)
    known = dict(zip((step.x, *step.carry, *step.stored), (x, *before, *stored), strict=True))
    given = {v: d for v, d in zip((*step.params, step.x), (*d_params, d_x), strict=True) if not _is_zero(d)}
    entering = _changes_of_entries(step, fixed | known, given) if given else {}
    drive = {var: d for var, d in entering.items() if var in step.varying}
    same = {var: d.astype(compute_dtype(d)) for var, d in entering.items() if var not in step.varying}
    matrices = [o.inputs[1] for o in step.operations if o.kind == "matmul" and o.inputs[1] in fixed]
    transposed = {var: fixed[var].T for var in matrices}

    @functools.partial(jax.checkpoint, prevent_cse=False)  # or JAX would store what is quicker to compute again
    def change(d_carry: list[Array], d_same: list[Array], d_now: list[Array], known_now: list[Array]) -> list[Array]:
        values = fixed | dict(zip(known, known_now, strict=True))
        entering = {var: d.astype(type_of(var).dtype) for var, d in zip(same, d_same, strict=True)}
        entering |= dict(zip(drive, d_now, strict=True))
        return _changes_of_results(step, values, transposed, entering, d_carry)

    def body(moving: tuple[list[Array], list[Array]], items: Any) -> Any:
        (d_carry, d_same), (d_now, (known_now, mask)) = moving, items
        results = change(d_carry, d_same, d_now, known_now)
        return (_select(mask, results[: len(d_carry)], d_carry), d_same), results[len(d_carry) :]

    start = [
        vary_like(jnp.zeros_like(c), c) if _is_zero(d) else d
        for c, d in zip(carry, d_carry, strict=True)
        if jnp.issubdtype(c.dtype, jnp.inexact)
    ]
    moving = (start, list(same.values())), list(drive.values())
    (d_final, _), d_y = _linear_scan(body, *moving, (list(known.values()), mask), reverse)
    return (final, y), (_complete(d_final, final), _complete(d_y, y))


def _linear_scan(body: Callable[..., Any], carry: PyTree, x: PyTree, known: PyTree, reverse: bool) -> Any:
    """Scan with `body(carry, (x, known))`, which is linear in the carry and in x. It closes over no other tangents."""

    def scan(carry: PyTree, x: PyTree, known: PyTree) -> Any:
        return jax.lax.scan(body, carry, (x, known), reverse=reverse)

    if jax.__version_info__ >= (0, 10):
        return scan(carry, x, known)
    # Before, a scan in a rule of forward mode was transposed only if it said in which of its arguments it is linear.
    program, shapes = jax.make_jaxpr(scan, return_shape=True)(carry, x, known)
    linear = set(program.jaxpr.invars[: len(jax.tree.leaves((carry, x)))])
    equations = []
    for equation in program.eqns:
        if equation.primitive.name == "scan":
            flags = tuple(isinstance(atom, Var) and atom in linear for atom in equation.invars)
            equation = equation.replace(params={**equation.params, "linear": flags})
        equations.append(equation)
    run = jaxpr_as_fun(ClosedJaxpr(program.jaxpr.replace(eqns=equations), program.consts))
    return jax.tree.unflatten(jax.tree.structure(shapes), run(*jax.tree.leaves((carry, x, known))))


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
        moved |= fixed_values(step, [moved[var] for var in step.params])

        def use(var: Var, value: Any) -> Any:
            """Note the value of an entry. What comes after it is left to the loop."""
            if var not in step.entries:
                return value
            moved[var] = value
            return values[var]

        now = {var: use(var, value) for var, value in moved.items()}
        now |= {var: values[var] for var in (*step.carry, *step.stored) if var not in step.entries}
        evaluate(step, now, step.entries, functools.partial(run_at_all_steps, step), use)
        return [moved[var] for var in step.entries]

    _, changes = jax.jvp(entries, ([values[var] for var in tangents],), (list(tangents.values()),))
    return dict(zip(step.entries, changes, strict=True))


def _changes_of_results(
    step: Step, values: Values, transposed: Values, entering: Values, d_carry: list[Array]
) -> list[Array]:
    """How the results of one step change when the carry does, and when `entering` is added to entries."""
    carry, known = inexact(step.carry), {*step.stored, *step.entries}

    def run(operation: Operation, *inputs: Any) -> list[Any]:
        """A product by a transposed matrix has a product by the matrix itself as its transpose, which is faster."""
        if operation.kind == "matmul" and operation.inputs[1] in transposed:
            return [multiply_rows(operation, inputs[0], transposed[operation.inputs[1]], transposed=True)]
        if operation.kind in BY_RESULT and operation.outputs[0] in step.stored:
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
        return evaluate(step, now, inexact(step.results), run, use)

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
    return primals[1], tangents[0] * BY_RESULT[kind](primals[1])
