"""A cell run over a sequence, and what the layers with cells of their own (LSTM, GRU, simple RNN) have in common."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jaxnets.kernels.scan_cell import scan_cell
from jaxnets.layer import layer
from jaxnets.nn.check import check_features, check_floating, compute_dtype, flatten_leading
from jaxnets.nn.initializers import torch_uniform
from jaxnets.random import subkey
from jaxnets.spec import ArraySpec, Spec
from jaxnets.types import Array, DTypeLike, Initializer, Key, Params

Carry: TypeAlias = Any
"""What a cell hands from step to step: an array, or a tree of arrays."""

Cell: TypeAlias = Callable[[Params, Carry, Array], tuple[Carry, Array]]


@layer
def recurrent(
    cell: Cell, params: Params, x: Array, *, carry: Carry, mask: Array | None = None, reverse: bool = False
) -> tuple[Array, Carry]:
    """Run any cell over a sequence: $(carry_t, y_t) = cell(params, carry_(t-1), x_t)$.

    For cells of your own; `lstm`, `gru` and `simple_rnn` do the same with their cells. Its derivative is faster than
    that of `jax.lax.scan`: the gradients of the kernels are single products over all steps (see
    `jaxnets.kernels.scan_cell`).

    Args:
        cell: `cell(params, carry, x) -> (carry, y)` with x `[..., in_features]` and y `[..., out_features]`. The carry
            keeps its structure, shapes and dtypes.
        params: the parameters of the cell.
        x: `[..., time, in_features]`, floating point.
        carry: the carry before the first step, an array or a tree of arrays with the leading axes of `x` (without
            time).
        mask: boolean `[..., time]`, True at real steps; None if all are. Other steps leave the carry as it is, have
            zeros as result, and may hold anything in `x`.
        reverse: whether to run from the last step to the first. The results stay in the places of their inputs.

    Returns:
        `(y, carry)`: y `[..., time, out_features]` and the carry after the last step.

    Raises:
        ValueError: if `x` has no time axis, or the mask another shape than `x` without its last axis.
        TypeError: if `x` is not floating point, the mask not boolean, or the cell returns a carry of another structure,
            shape or dtype.

    Example:
        A minimal gated unit:

        >>> def cell(params, carry, x):
        ...     forget = jax.nn.sigmoid(x @ params["w_forget"] + carry @ params["u_forget"])
        ...     new = jnp.tanh(x @ params["w"] + (forget * carry) @ params["u"])
        ...     carry = (1 - forget) * carry + forget * new
        ...     return carry, carry
        >>> kernel = 0.5 * jnp.ones((1, 1))
        >>> params = {"w_forget": kernel, "u_forget": kernel, "w": kernel, "u": kernel}
        >>> y, carry = recurrent(cell, params, jnp.array([[1.0], [2.0], [3.0]]), carry=jnp.zeros(1))
        >>> y.shape, bool(carry == y[-1])
        ((3, 1), True)

    Reference:
        Zhou, Wu, Zhang, Zhou, Minimal Gated Unit for Recurrent Neural Networks, 2016 (the cell of the example).
    """
    check_floating(x)
    if x.ndim < 2:
        raise ValueError(f"x must be [..., time, in_features], got {list(x.shape)}")
    check_mask(mask, x)

    def checked(params: Params, carry: Carry, x: Array) -> tuple[Carry, Array]:
        result = cell(params, carry, x)
        if not isinstance(result, tuple) or len(result) != 2 or _form(result[0]) != _form(carry):
            came = [_form(part) for part in result] if isinstance(result, tuple) else _form(result)
            raise TypeError(
                f"the cell must return (carry, y) with a carry of the form that it got, {_form(carry)}; "
                f"it returned {came}"
            )
        return result

    return run_over_time(checked, params, x, carry, mask, reverse=reverse)


def _form(carry: Carry) -> Any:
    return jax.tree.map(lambda leaf: f"{jnp.result_type(leaf)}{list(jnp.shape(leaf))}", carry)


def run_over_time(
    cell: Cell, params: Params, x: Array, carry: Carry, mask: Array | None, *, reverse: bool
) -> tuple[Array, Carry]:
    """Do what `recurrent` does, without its checks."""
    steps = jnp.moveaxis(zero_where_masked(x, mask), -2, 0)
    real = None if mask is None else jnp.moveaxis(mask, -1, 0)
    carry, y = scan_cell(cell, params, carry, steps, real, reverse=reverse)
    return zero_where_masked(jnp.moveaxis(y, 0, x.ndim - 2), mask), carry


def check_mask(mask: Array | None, x: Array) -> None:
    """Raise unless `mask` is None or a boolean `[..., time]` for x `[..., time, in_features]`."""
    if mask is None:
        return
    if not hasattr(mask, "dtype") or mask.dtype != jnp.bool_:
        came = getattr(mask, "dtype", type(mask).__name__)
        raise TypeError(f"mask must be a boolean array, True at real steps, got {came}")
    if mask.shape != x.shape[:-1]:
        raise ValueError(f"mask must be {list(x.shape[:-1])} for x {list(x.shape)}, got {list(mask.shape)}")


def zero_where_masked(x: Array, mask: Array | None) -> Array:
    """Set the steps that the mask leaves out to zero, which keeps a NaN there out of every gradient."""
    return x if mask is None else jnp.where(mask[..., None], x, jnp.zeros((), x.dtype))


class Recurrence(NamedTuple):
    """A kind of recurrent layer.

    Attributes:
        name: the public name of the layer.
        gates: how many blocks of `hidden` columns the kernels have.
        initial: `initial(zeros) -> carry`, the carry before the first step, given the hidden state.
        step: `step(params, carry, x, **settings) -> carry`, what the cell computes. The first array of a carry is the
            hidden state, which is also the result.
    """

    name: str
    gates: int
    initial: Callable[[Array], Carry]
    step: Callable[..., Carry]


def affine(x: Array, kernel: Array, bias: Array | None = None) -> Array:
    """Return x W + b in float32 at least, with a product in the dtype of the kernel; x is `[..., in]`."""
    rows, leading = flatten_leading(x)
    y = jax.lax.dot(rows.astype(kernel.dtype), kernel, preferred_element_type=compute_dtype(kernel))
    if bias is not None:
        y = y + bias[None]
    return y.reshape((*leading, kernel.shape[1]))


def initial_carry(recurrence: Recurrence, params: Params, batch: int | tuple[int, ...], dtype: DTypeLike) -> Carry:
    """Return zeros in the form of the carry."""
    if not isinstance(params, dict) or "hidden_kernel" not in params:
        came = sorted(params) if isinstance(params, dict) else type(params).__name__
        raise ValueError(f"params must be those of one {recurrence.name}, with 'hidden_kernel', got {came}")
    batch = (operator.index(batch),) if hasattr(batch, "__index__") else tuple(batch)
    return recurrence.initial(jnp.zeros((*batch, params["hidden_kernel"].shape[0]), dtype))


def run_cell(recurrence: Recurrence, params: Params, carry: Carry, x: Array, **settings: Any) -> tuple[Carry, Array]:
    """Do one step: x `[..., in]` and a carry of `[..., hidden]`, which keeps its dtype."""
    _check_params(recurrence, params, x)
    _check_carry(recurrence, params, carry, x, x.shape[:-1])
    new = recurrence.step(_in_dtype_of(x, params), _at_least_float32(carry, x), x, **settings)
    return cast_like(carry, new), _hidden_of(new).astype(x.dtype)


def run_sequence(
    recurrence: Recurrence,
    params: Params,
    x: Array,
    carry: Carry | None,
    mask: Array | None,
    reverse: bool,
    **settings: Any,
) -> tuple[Array, Carry]:
    """Run over x `[..., time, in]`."""
    carry = check_sequence(recurrence, params, x, carry, mask)
    run = _compiled(recurrence.step, tuple(settings.items()), reverse)
    y, end = run(_in_dtype_of(x, params), x, _at_least_float32(carry, x), mask)
    return y, cast_like(carry, end)


@functools.lru_cache(maxsize=64)
def _compiled(step: Callable[..., Carry], settings: tuple[tuple[str, Any], ...], reverse: bool) -> Callable[..., Any]:
    """A function of params, x, carry and mask, the same one for the same step: calls outside of jit compile once."""

    def cell(params: Params, carry: Carry, x: Array) -> tuple[Carry, Array]:
        new = step(params, carry, x, **dict(settings))
        return new, _hidden_of(new).astype(x.dtype)

    return jax.jit(functools.partial(run_over_time, cell, reverse=reverse))


def check_sequence(recurrence: Recurrence, params: Params, x: Array, carry: Carry | None, mask: Array | None) -> Carry:
    """Check what a layer was called with, and return the carry before the first step."""
    _check_params(recurrence, params, x)
    if x.ndim < 2:
        raise ValueError(f"x must be [..., time, in_features], got {list(x.shape)}")
    check_mask(mask, x)
    leading = tuple(x.shape[:-2])
    if carry is None:
        return initial_carry(recurrence, params, leading, compute_dtype(x))
    _check_carry(recurrence, params, carry, x, leading)
    return carry


def cast_like(carry: Carry, new: Carry) -> Carry:
    """Give a new carry the dtypes of the one before it."""
    return jax.tree.map(lambda old, new: new.astype(old.dtype), carry, new)


def _hidden_of(carry: Carry) -> Array:
    hidden: Array = jax.tree.leaves(carry)[0]
    return hidden


def _at_least_float32(carry: Carry, x: Array) -> Carry:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, compute_dtype(x)), carry)


def _in_dtype_of(x: Array, params: Params) -> dict[str, Any]:
    """Kernels in the dtype of x, for products in it, and biases in float32 at least."""
    dtypes = {True: x.dtype, False: compute_dtype(x)}
    return {
        name: jnp.asarray(array, dtypes[name.endswith("kernel")]) for name, array in params.items() if array is not None
    }


def _check_params(recurrence: Recurrence, params: Params, x: Array) -> None:
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


def recurrence_spec(
    recurrence: Recurrence,
    in_features: int,
    hidden: int,
    bias: bool,
    input_init: Initializer,
    hidden_init: Initializer,
    bias_init: Initializer,
) -> Spec:
    """Describe the kernels and, if `bias`, the bias of a recurrent layer. Kernels are initialized gate by gate."""
    if in_features < 1 or hidden < 1:
        raise ValueError(f"in_features and hidden must be at least 1, got {in_features} and {hidden}")
    columns, torch_init = recurrence.gates * hidden, torch_uniform(hidden)

    def kernel(rows: int, axis: str, initializer: Initializer) -> ArraySpec:
        by_gate = _gate_by_gate(initializer, recurrence.gates)
        return ArraySpec((rows, columns), by_gate, axes=(axis, "out"), torch_initializer=torch_init)

    spec = {
        "input_kernel": kernel(in_features, "in", input_init),
        "hidden_kernel": kernel(hidden, "hidden", hidden_init),
    }
    if bias:
        torch_bias = sum_of_two(torch_init, columns)
        spec["bias"] = ArraySpec((columns,), bias_init, axes=("out",), torch_initializer=torch_bias)
    return spec


def _gate_by_gate(initializer: Initializer, gates: int) -> Initializer:
    def initialize(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        block = (shape[0], shape[1] // gates)
        return jnp.concatenate([initializer(subkey(key, gate), block, dtype) for gate in range(gates)], axis=1)

    return initialize


def sum_of_two(initializer: Initializer, count: int) -> Initializer:
    """Draw the first `count` entries as the sum of two: PyTorch has one bias beside each kernel and adds them."""

    def initialize(key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        first, second = (initializer(subkey(key, name), shape, dtype) for name in ("input", "hidden"))
        return first.at[:count].add(second[:count])

    return initialize
