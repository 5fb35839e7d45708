"""What the simple RNN, LSTM and GRU have in common: the form of a step, and how the arrays of a layer start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from jaxnets.nn.check import compute_dtype, flatten_leading
from jaxnets.nn.initializers import torch_uniform
from jaxnets.random import subkey
from jaxnets.spec import ArraySpec, Spec
from jaxnets.types import Array, DTypeLike, Initializer, Key

Carry: TypeAlias = Any
"""What a cell hands from step to step: an array, or a tree of arrays whose first one is the hidden state."""


class Recurrence(NamedTuple):
    """One kind of recurrent layer.

    A step makes `projected` = x W_input + b of the input and `recurrent` = h W_hidden + b_hidden of the hidden state,
    both `[..., gates * hidden]`. The rest of the step works on each entry alone, and that is what the functions here
    say. They take arrays of one step as well as of all steps at once, `[time, ..., hidden]`.

    Attributes:
        name: the public name of the layer.
        gates: how many blocks of `hidden` columns the kernels have.
        initial: `initial(zeros) -> carry`, the carry before the first step, given the hidden state.
        step: `step(projected, recurrent, carry) -> (carry, saved)`; `saved` is a tree of arrays that `coefficients`
            needs. To put several into one array would copy them at each step.
        coefficients: `coefficients(saved, carry_before, carry_after) -> coefficients`, a tree of arrays: the
            derivatives of the step.
        tangent: `tangent(coefficients, projected, recurrent, carry) -> carry`, the linear function that takes small
            changes of the step's arguments to the change of its result.
        joined: whether only the sum of `projected` and `recurrent` matters to `step` and `tangent`. The derivative of
            a sequence then works with changes of this sum.
    """

    name: str
    gates: int
    initial: Callable[[Array], Carry]
    step: Callable[[Array, Array, Carry], tuple[Carry, Any]]
    coefficients: Callable[[Any, Carry, Carry], Any]
    tangent: Callable[[Any, Array, Array, Carry], Carry]
    joined: bool = False


class Weights(NamedTuple):
    """The arrays of a layer in the dtypes of the computation: kernels as the input, biases at least float32."""

    input_kernel: Array
    hidden_kernel: Array
    bias: Array | None
    hidden_bias: Array | None


def hidden_of(carry: Carry) -> Array:
    """Return the hidden state, which is what a cell puts out."""
    hidden: Array = jax.tree.leaves(carry)[0]
    return hidden


def affine(x: Array, kernel: Array, bias: Array | None) -> Array:
    """Multiply `[..., in]` by `[in, out]` in the kernel's dtype, summing and adding the bias in float32 at least."""
    rows, leading = flatten_leading(x)
    y = jax.lax.dot(rows.astype(kernel.dtype), kernel, preferred_element_type=compute_dtype(kernel))
    if bias is not None:
        y = y + bias[None]
    return y.reshape((*leading, kernel.shape[1]))


def select(mask: Array | None, new: Carry, old: Carry) -> Carry:
    """Take the new carry where the mask `[...]` is True, else the old one."""
    if mask is None:
        return new

    def choose(a: Array, b: Array) -> Array:
        return jnp.where(mask.reshape((*mask.shape, *[1] * (a.ndim - mask.ndim))), a, b)

    return jax.tree.map(choose, new, old)


def recurrence_spec(
    name: str,
    gates: int,
    in_features: int,
    hidden: int,
    *,
    bias: bool,
    input_init: Initializer,
    hidden_init: Initializer,
    bias_init: Initializer,
) -> Spec:
    """Describe the kernels and, if `bias`, the bias of a recurrent layer. Kernels start gate by gate."""
    if in_features < 1 or hidden < 1:
        raise ValueError(f"{name}_spec: in_features and hidden must be at least 1, got {in_features} and {hidden}")
    columns, torch_init = gates * hidden, torch_uniform(hidden)
    spec = {
        "input_kernel": ArraySpec(
            (in_features, columns),
            _gate_by_gate(input_init, gates),
            axes=("in", "out"),
            torch_initializer=torch_init,
        ),
        "hidden_kernel": ArraySpec(
            (hidden, columns),
            _gate_by_gate(hidden_init, gates),
            axes=("hidden", "out"),
            torch_initializer=torch_init,
        ),
    }
    if bias:
        spec["bias"] = ArraySpec(
            (columns,), bias_init, axes=("out",), torch_initializer=sum_of_two(torch_init, columns)
        )
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
