"""A whole sequence of a recurrent layer with its own derivative, faster than that of a scan of the cell.

The derivative of a scan takes every product of the step apart: going back, each step adds its share to the gradient of
each kernel. But all products with kernels can be done for all steps at once, except h W_hidden, which needs the step
before. So the change of the carry is written here as

    carry'_t = tangent(coefficients_t, drive_t + h'_(t-1) W_hidden, carry'_(t-1)),

where `drive`, what the changes of inputs, kernels and biases add to x W_input + h W_hidden + b, is computed for all
steps at once. This loop is linear, and JAX turns it round: going back, the loop does one product a step, and the
gradient of each kernel is one product over all steps. Because it is a rule for forward mode, all transformations of JAX
still work.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxnets.nn.check import compute_dtype
from jaxnets.nn.recurrence import Carry, Recurrence, Weights, affine, hidden_of, select
from jaxnets.types import Array

_CACHE_BYTES = 2**21
"""An input kernel of at most this size is used in the loop, where it stays in the cache, a larger one outside."""


def project_at_once(input_kernel: Array) -> bool:
    """Say whether x W_input is faster for all steps at once, before the loop, than step by step in it."""
    return input_kernel.size * input_kernel.dtype.itemsize > _CACHE_BYTES


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1, 2))
def _run_steps(
    recurrence: Recurrence,
    reverse: bool,
    at_once: bool,
    weights: Weights,
    x: Array,
    carry: Carry,
    mask: Array | None,
) -> tuple[Array, Carry]:
    """Run all steps.

    Args:
        recurrence: the kind of layer.
        reverse: whether to run from the last step to the first.
        at_once: what `project_at_once` says.
        weights: its arrays.
        x: `[time, batch, in]`.
        carry: a tree of `[batch, hidden]` in the dtype of the computation.
        mask: `[time, batch]`, True at the steps that count, or None for all. At the others the carry stays.

    Returns:
        The hidden states `[time, batch, hidden]` after each step and the carry after the last one.
    """
    carry, hidden = _forward(recurrence, reverse, at_once, weights, x, carry, mask, lambda new, saved: hidden_of(new))
    return hidden, carry


@functools.partial(_run_steps.defjvp, symbolic_zeros=True)
def _run_steps_jvp(recurrence: Recurrence, reverse: bool, at_once: bool, primals: Any, tangents: Any) -> Any:
    weights, x, carry, mask = primals
    d_weights, d_x, d_carry, _ = tangents
    final, (after, saved) = _forward(
        recurrence, reverse, at_once, weights, x, carry, mask, lambda new, saved: (new, saved)
    )
    before = jax.tree.map(functools.partial(_shift, reverse=reverse), carry, after)
    projected = _affine_tangent(x, weights.input_kernel, d_x, d_weights.input_kernel, d_weights.bias)
    recurrent = _affine_tangent(
        hidden_of(before), weights.hidden_kernel, None, d_weights.hidden_kernel, d_weights.hidden_bias
    )
    linearize = _joined_change if recurrence.joined else _separate_change
    drive, change = linearize(recurrence, (saved, before, after), projected, recurrent)
    # Transposed outside: the product that JAX makes of the one below when it turns the loop round has no transpose.
    transposed_kernel = weights.hidden_kernel.T

    def step(d_carry: Carry, items: Any) -> tuple[Carry, Array]:
        drive, mask = items
        product = _product_with_transposed(hidden_of(d_carry), transposed_kernel)
        d_carry = select(mask, change(drive, product, d_carry), d_carry)
        return d_carry, hidden_of(d_carry)

    d_carry = jax.tree.map(_instantiate, d_carry, carry, is_leaf=_is_zero)
    d_final, d_hidden = jax.lax.scan(step, d_carry, (drive, mask), reverse=reverse)
    return (hidden_of(after), final), (d_hidden, d_final)


run_steps = jax.jit(_run_steps, static_argnums=(0, 1, 2))  # so that calls outside jit do not compile the loop again


def _forward(
    recurrence: Recurrence,
    reverse: bool,
    at_once: bool,
    weights: Weights,
    x: Array,
    carry: Carry,
    mask: Array | None,
    keep: Callable[[Carry, Array], Any],
) -> tuple[Carry, Any]:
    """Return the last carry, and of each step `keep(carry, saved)`."""
    inputs = affine(x, weights.input_kernel, weights.bias) if at_once else x

    def step(carry: Carry, items: Any) -> tuple[Carry, Any]:
        inputs, mask = items
        projected = inputs if at_once else affine(inputs, weights.input_kernel, weights.bias)
        recurrent = affine(hidden_of(carry), weights.hidden_kernel, weights.hidden_bias)
        new, saved = recurrence.step(projected, recurrent, carry)
        carry = select(mask, new, carry)
        return carry, keep(carry, saved)

    return jax.lax.scan(step, carry, (inputs, mask), reverse=reverse)


def _joined_change(
    recurrence: Recurrence, run: tuple[Any, Carry, Carry], projected: Array, recurrent: Array
) -> tuple[Any, Callable[[Any, Array, Carry], Carry]]:
    """Return what drives the linear loop, `[time, ...]`, and its `change(drive_t, h' W_hidden, carry') -> carry'`.

    For kinds with `joined`. The loop makes the coefficients itself: that is quicker than to keep those of all steps.
    """

    @functools.partial(jax.checkpoint, prevent_cse=False)  # or JAX would keep them all the same
    def change(items: Any, product: Array, d_carry: Carry) -> Carry:
        run, joined = items
        return recurrence.tangent(recurrence.coefficients(*run), joined, product, d_carry)

    return (run, projected + recurrent), change


def _separate_change(
    recurrence: Recurrence, run: tuple[Any, Carry, Carry], projected: Array, recurrent: Array
) -> tuple[Any, Callable[[Any, Array, Carry], Carry]]:
    """Do as `_joined_change` for other kinds: its loop, turned round, would keep two large arrays instead of one."""
    coefficients = recurrence.coefficients(*run)
    drive = recurrence.tangent(coefficients, projected, recurrent, jax.tree.map(jnp.zeros_like, run[2]))

    def change(items: Any, product: Array, d_carry: Carry) -> Carry:
        drive, coefficients = items
        rest = recurrence.tangent(coefficients, jnp.zeros_like(product), product, d_carry)
        return jax.tree.map(jnp.add, drive, rest)

    return (drive, coefficients), change


def _shift(first: Array, after: Array, reverse: bool) -> Array:
    """The carries before each step, of the first one and those after each step."""
    if reverse:
        return jnp.concatenate([after, first[None]])[1:]
    return jnp.concatenate([first[None], after])[:-1]


def _affine_tangent(x: Array, kernel: Array, d_x: Any, d_kernel: Any, d_bias: Any) -> Array:
    """The change of x W + b; what does not change is None or a symbolic zero."""
    change = jnp.zeros((*x.shape[:-1], kernel.shape[1]), compute_dtype(kernel))
    if not _is_zero(d_x):
        change = change + affine(d_x, kernel, None)
    if not _is_zero(d_kernel):
        change = change + affine(x, d_kernel, None)
    if not _is_zero(d_bias):  # as a product, because XLA can be slow at the sum that is the transpose of broadcasting
        change = change + affine(jnp.ones((*x.shape[:-1], 1), d_bias.dtype), d_bias[None], None)
    return change


def _product_with_transposed(x: Array, transposed: Array) -> Array:
    contracted = (((1,), (1,)), ((), ()))
    return jax.lax.dot_general(
        x.astype(transposed.dtype), transposed, contracted, preferred_element_type=compute_dtype(transposed)
    )


def _is_zero(tangent: Any) -> bool:
    return tangent is None or isinstance(tangent, SymbolicZero)


def _instantiate(tangent: Any, primal: Array) -> Array:
    return jnp.zeros_like(primal) if _is_zero(tangent) else tangent
