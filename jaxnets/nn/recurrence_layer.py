"""One step and a whole sequence of any `Recurrence`: what `lstm_cell`, `lstm` and their like consist of."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets.backend import fast_path, types_carry_sharding
from jaxnets.nn.check import check_features, check_floating, compute_dtype, match_dtype
from jaxnets.nn.recurrence import Carry, Recurrence, Weights, affine, hidden_of
from jaxnets.nn.recurrence_gradient import project_at_once, run_steps
from jaxnets.nn.recurrent import check_mask, recurrent, zero_where_masked
from jaxnets.types import Array, DTypeLike, Params


def initial_carry(recurrence: Recurrence, params: Params, batch: int | tuple[int, ...], dtype: DTypeLike) -> Carry:
    """Return zeros in the form of the carry."""
    if not isinstance(params, dict) or "hidden_kernel" not in params:
        came = sorted(params) if isinstance(params, dict) else type(params).__name__
        raise ValueError(
            f"{recurrence.name}_carry: params must be those of one {recurrence.name}, with 'hidden_kernel', got {came}"
        )
    batch = (batch,) if isinstance(batch, int) else tuple(batch)
    return recurrence.initial(jnp.zeros((*batch, params["hidden_kernel"].shape[0]), dtype))


def run_cell(recurrence: Recurrence, params: Params, carry: Carry, x: Array) -> tuple[Carry, Array]:
    """Do one step: x `[..., in]` and a carry of `[..., hidden]`, which keeps its dtype."""
    _check(recurrence, params, x)
    _check_carry(recurrence, params, carry, x, x.shape[:-1])
    weights, dtype = _weights(params, x), compute_dtype(x)
    wide = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), carry)
    new, _ = recurrence.step(
        affine(x, weights.input_kernel, weights.bias),
        affine(hidden_of(wide), weights.hidden_kernel, weights.hidden_bias),
        wide,
    )
    return as_carry(new, carry), hidden_of(new).astype(x.dtype)


def run_sequence(
    recurrence: Recurrence, params: Params, x: Array, *, carry: Carry | None, mask: Array | None, reverse: bool
) -> tuple[Array, Carry]:
    """Run over x `[..., time, in]` in the form that is the fastest on the backend."""
    carry = check_sequence(recurrence, params, x, carry, mask)
    *leading, time, in_features = x.shape
    start = jax.tree.map(lambda leaf: jnp.asarray(leaf, compute_dtype(x)), carry)
    if not fast_path(recurrence.name, "cpu") or types_carry_sharding(x, params["hidden_kernel"]):
        cell = functools.partial(run_cell, recurrence)
        y, end = recurrent(cell, params, x, carry=start, mask=mask, reverse=reverse)
        return y, as_carry(end, carry)
    batch, weights = math.prod(leading), _weights(params, x)
    hidden, end = run_steps(
        recurrence,
        reverse,
        project_at_once(weights.input_kernel),
        weights,
        zero_where_masked(x, mask).reshape((batch, time, in_features)).swapaxes(0, 1),
        jax.tree.map(lambda leaf: leaf.reshape((batch, leaf.shape[-1])), start),
        None if mask is None else mask.reshape((batch, time)).T,
    )
    y = hidden.astype(x.dtype).swapaxes(0, 1).reshape((*leading, time, hidden.shape[-1]))
    return zero_where_masked(y, mask), as_carry(end, carry)


def check_sequence(recurrence: Recurrence, params: Params, x: Array, carry: Carry | None, mask: Array | None) -> Carry:
    """Check what a layer was called with, and return the carry before the first step."""
    _check(recurrence, params, x)
    if x.ndim < 2:
        raise ValueError(f"{recurrence.name}: x must be [..., time, in_features], got {list(x.shape)}")
    check_mask(mask, x)
    leading = tuple(x.shape[:-2])
    if carry is None:
        return initial_carry(recurrence, params, leading, compute_dtype(x))
    _check_carry(recurrence, params, carry, x, leading)
    return carry


def as_carry(carry: Carry, like: Carry) -> Carry:
    """Give a carry the shapes and dtypes of another."""
    return jax.tree.map(lambda new, old: new.reshape(old.shape).astype(old.dtype), carry, like)


def _weights(params: Params, x: Array) -> Weights:
    input_kernel, hidden_kernel = match_dtype(x, params["input_kernel"], params["hidden_kernel"])
    bias, hidden_bias = (
        None if params.get(name) is None else jnp.asarray(params[name], compute_dtype(x))
        for name in ("bias", "hidden_bias")
    )
    if hidden_bias is not None:  # it belongs to the last gate
        hidden_bias = jnp.pad(hidden_bias, (hidden_kernel.shape[1] - hidden_bias.shape[0], 0))
    return Weights(input_kernel, hidden_kernel, bias, hidden_bias)


def _check(recurrence: Recurrence, params: Params, x: Array) -> None:
    check_floating(x)
    check_features(x, params["input_kernel"].shape[0], params["input_kernel"])
    hidden, columns = params["hidden_kernel"].shape
    if columns != recurrence.gates * hidden or params["input_kernel"].shape[1] != columns:
        raise ValueError(
            f"kernels must be [in, {recurrence.gates} * hidden] and [hidden, {recurrence.gates} * hidden], "
            f"got {list(params['input_kernel'].shape)} and {[hidden, columns]}; pass what "
            f"init({recurrence.name}_spec(...), key) returned"
        )


def _check_carry(recurrence: Recurrence, params: Params, carry: Carry, x: Array, leading: tuple[int, ...]) -> None:
    shape = (*leading, params["hidden_kernel"].shape[0])
    expected = recurrence.initial(jax.ShapeDtypeStruct(shape, compute_dtype(x)))  # type: ignore[arg-type]
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(carry)]
    forms: list[Any] = [jax.tree.structure(tree) for tree in (carry, expected)]
    if forms[0] != forms[1] or any(got != shape for got in shapes):
        form = jax.tree.map(lambda leaf: list(leaf.shape), expected)
        got = jax.tree.map(lambda leaf: list(jnp.shape(leaf)), carry)
        raise ValueError(
            f"carry must be {form} for x {list(x.shape)}, got {got}; "
            f"{recurrence.name}_carry(params, batch={tuple(leading)}) makes one of zeros"
        )
