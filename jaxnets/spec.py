"""Specs: networks described as data, before any array exists.

A spec is a nested dict or list whose leaves are `ArraySpec`s. Initialization, parameter counts, PyTorch's starting
values and repeated blocks are all functions of that tree.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets import backend
from jaxnets.compiler import compile_quickly
from jaxnets.random import subkey
from jaxnets.types import Array, DTypeLike, Initializer, Key, Params, State

Spec: TypeAlias = Any
"""A nested dict or list with `ArraySpec`s at its leaves."""

TorchLayout: TypeAlias = Literal["matrix", "groups", "depthwise", "to_heads", "from_heads"]
"""The axes of a kernel here, and in PyTorch:

============ ========================================== ======================================
matrix       `[*window, in, out]`                       `[out, in, *window]`
groups       `[*window, groups, in, out]`               `[groups * out, in, *window]`
depthwise    `[*window, channels, multiplier]`          `[channels * multiplier, 1, *window]`
to_heads     `[in, heads, head_dim]`                    `[heads * head_dim, in]`
from_heads   `[heads, head_dim, out]`                   `[out, heads * head_dim]`
============ ========================================== ======================================

Of transposed convolutions, `in` and `out` are exchanged on both sides. Biases `[heads, head_dim]` are `to_heads` too.
"""


@dataclasses.dataclass(frozen=True)
class ArraySpec:
    """One array of a network: its shape, how it starts, and what it is.

    Attributes:
        shape: the array's shape.
        initializer: a function `(key, shape, dtype) -> array`, as those of `jax.nn.initializers`.
        dtype: the array's dtype; None takes the one given to `init` (state: at least float32).
        axes: one logical name an axis, such as `("in", "out")`, from which shardings are made.
        is_state: True for arrays that the network updates itself (running statistics, caches) and that no
            optimizer touches.
        torch_initializer: how PyTorch starts the same array, where it differs; see `torch_defaults`.
        torch_layout: how PyTorch orders its axes, where it differs; see `TorchLayout`.

    Example:
        >>> import jax
        >>> spec = {"gain": ArraySpec((3,), jax.nn.initializers.ones)}
        >>> params, state = init(spec, jax.random.key(0))
        >>> params["gain"]
        Array([1., 1., 1.], dtype=float32)
    """

    shape: tuple[int, ...]
    initializer: Initializer
    dtype: DTypeLike | None = None
    axes: tuple[str | None, ...] = ()
    is_state: bool = False
    torch_initializer: Initializer | None = None
    torch_layout: TorchLayout | None = None

    def __post_init__(self) -> None:
        try:
            shape = tuple(map(operator.index, self.shape))
        except TypeError:
            shape = (-1,)
        if min(shape, default=0) < 0:
            raise ValueError(f"shape must hold non-negative integers, got {self.shape}")
        object.__setattr__(self, "shape", shape)
        if self.axes and len(self.axes) != len(self.shape):
            raise ValueError(f"axes must name each axis of shape {self.shape} once, got {self.axes}")


def is_half(dtype: DTypeLike) -> bool:
    """Whether a dtype is one of floating-point numbers of less than 32 bits.

    Example:
        >>> is_half(jnp.bfloat16), is_half(jnp.uint8)
        (True, False)
    """
    return bool(jnp.issubdtype(dtype, jnp.floating)) and jnp.dtype(dtype).itemsize < 4


@dataclasses.dataclass(frozen=True)
class InFloat32:
    """An initializer that draws in float32 at least and rounds, for those that know no half precision.

    Attributes:
        initializer: the initializer.

    Example:
        >>> InFloat32(jax.nn.initializers.orthogonal())(jax.random.key(0), (2, 2), jnp.bfloat16).dtype
        dtype(bfloat16)
    """

    initializer: Initializer

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        """Draw the array."""
        wide = jnp.float32 if is_half(dtype) else dtype
        return self.initializer(key, shape, wide).astype(dtype)


def init(spec: Spec, key: Key, *, dtype: DTypeLike = jnp.float32) -> tuple[Params, State]:
    """Make the parameters and the state that a spec describes.

    Every array's key is folded from `key` by the names on its path (list positions by number), so the values of one
    layer do not depend on which other layers there are, and `init(spec["fc1"], subkey(key, "fc1"))` gives the same
    arrays as `init(spec, key)` has under `"fc1"`.

    Args:
        spec: a nested dict or list with `ArraySpec`s at its leaves.
        key: a typed PRNG key.
        dtype: the dtype of parameters whose spec names none. State without a dtype is float32, or float64 with it.

    Returns:
        `(params, state)`. `params` has the spec's structure with the state left out. `state` keeps only the names
        under which there is state; in lists, positions without state hold `{}`.

    Raises:
        TypeError: if the spec holds something that is not a dict, a list or an `ArraySpec`, with its path.

    Example:
        >>> import jax
        >>> from jaxnets import nn
        >>> spec = {"fc": nn.linear_spec(8, 4), "bn": nn.batch_norm_spec(4)}
        >>> params, state = init(spec, jax.random.key(0))
        >>> params["fc"]["kernel"].shape, sorted(params["bn"]), sorted(state)
        ((8, 4), ['bias', 'scale'], ['bn'])
    """
    traced = isinstance(subkey(key, 0), jax.core.Tracer)  # also if the key is a constant of what is being traced

    @functools.cache
    def key_of(path: tuple[str | int, ...]) -> Key:
        return subkey(key_of(path[:-1]), path[-1]) if path else key

    def make(path: tuple[str | int, ...], leaf: ArraySpec) -> Array:
        default = jnp.float32 if leaf.is_state and jnp.dtype(dtype).itemsize < 4 else dtype
        return _draw(leaf, key_of(path), default if leaf.dtype is None else leaf.dtype, traced)

    return assemble(spec, make)


def _draw(leaf: ArraySpec, key: Key, dtype: DTypeLike, traced: bool) -> Array:
    """The array of a leaf, by one program or none and not by one for each operation: compiling takes the longest.

    In half precision it is drawn in float32 and rounded: some initializers, such as orthogonal ones, know no other.
    """
    for constant, value in ((jax.nn.initializers.zeros, 0), (jax.nn.initializers.ones, 1)):
        if leaf.initializer is constant and not traced:
            filled: Array = jax.device_put(np.full(leaf.shape, value, jnp.dtype(dtype)))
            return filled
    draw = InFloat32(leaf.initializer) if is_half(dtype) else leaf.initializer
    if backend.fast_path("init", "cpu", "gpu", "tpu"):
        draw = compile_quickly(draw, static_argnums=(1, 2), traced=traced)
    return draw(key, tuple(leaf.shape), jnp.dtype(dtype))


def assemble(spec: Spec, make: Callable[[tuple[str | int, ...], ArraySpec], Any]) -> tuple[Params, State]:
    """Put the array that `make(path, leaf)` returns for each leaf where `init` puts it.

    Args:
        spec: a nested dict or list with `ArraySpec`s at its leaves.
        make: gets the names and positions on the way to a leaf, and the leaf.

    Returns:
        `(params, state)`, as `init` does.

    Raises:
        TypeError: if the spec holds something that is not a dict, a list or an `ArraySpec`, with its path.

    Example:
        >>> import jax
        >>> spec = {"fc": {"kernel": ArraySpec((8, 4), jax.nn.initializers.zeros)}}
        >>> assemble(spec, lambda path, leaf: (path, leaf.shape))[0]
        {'fc': {'kernel': (('fc', 'kernel'), (8, 4))}}
    """
    made = _assemble_node(spec, make, ())
    if isinstance(spec, ArraySpec):
        return ({}, made) if spec.is_state else (made, {})
    params, state = made
    return params, state


def _assemble_node(spec: Spec, make: Callable[..., Any], path: tuple[str | int, ...]) -> Any:
    """The array of a leaf; for a dict or list the pair (params, state)."""
    if isinstance(spec, ArraySpec):
        return make(path, spec)
    if isinstance(spec, dict):
        items: Any = spec.items()
    elif isinstance(spec, list | tuple):
        items = enumerate(spec)
    else:
        where = "/".join(map(str, path)) or "/"
        raise TypeError(f"a spec holds dicts, lists and ArraySpecs, got {type(spec).__name__} at '{where}'")
    params: dict[Any, Any] = {}
    state: dict[Any, Any] = {}
    for name, child in items:
        value = _assemble_node(child, make, (*path, name))
        if isinstance(child, ArraySpec):
            (state if child.is_state else params)[name] = value
        else:
            params[name] = value[0]
            if not isinstance(spec, dict) or jax.tree.leaves(value[1]):
                state[name] = value[1]
    if isinstance(spec, dict):
        return params, state
    has_state = bool(jax.tree.leaves(state))
    return [params.get(i, {}) for i in range(len(spec))], [state.get(i, {}) for i in range(len(spec)) if has_state]


def count_parameters(spec: Spec) -> int:
    """Count the parameters that a spec describes; state does not count.

    Example:
        >>> from jaxnets import nn
        >>> count_parameters({"fc1": nn.linear_spec(784, 100), "fc2": nn.linear_spec(100, 10)})
        79510
    """
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(spec) if not leaf.is_state)


def torch_defaults(spec: Spec) -> Spec:
    """Return the same spec with every array started as PyTorch starts it.

    Linear and convolution kernels and biases are drawn from $U(-1/sqrt(fan_in), 1/sqrt(fan_in))$, recurrent weights
    from $U(-1/sqrt(hidden), 1/sqrt(hidden))$, embeddings from $N(0, 1)$: the distributions are PyTorch's, the random
    numbers are not.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets import nn
        >>> params, _ = init(torch_defaults(nn.linear_spec(100, 10)), jax.random.key(0))
        >>> bool(jnp.all(jnp.abs(params["bias"]) <= 0.1)), bool(jnp.any(params["bias"] != 0))
        (True, True)
    """
    return jax.tree.map(
        lambda leaf: dataclasses.replace(leaf, initializer=leaf.torch_initializer or leaf.initializer), spec
    )


def repeat_spec(spec: Spec, count: int) -> Spec:
    """Describe `count` blocks of the same form with their arrays stacked along a new first axis.

    Each block is initialized from its own key (`subkey(key, i)` on every array). Run the blocks with
    `jaxnets.repeat`, which compiles the block once, however many there are.

    Args:
        spec: the spec of one block.
        count: how many blocks.

    Returns:
        A spec whose arrays have shape `[count, ...]` and the logical axis `"layers"` in front.

    Example:
        >>> import jax
        >>> from jaxnets import nn
        >>> params, _ = init(repeat_spec(nn.linear_spec(4, 4), 3), jax.random.key(0))
        >>> params["kernel"].shape
        (3, 4, 4)
    """
    if count < 1:
        raise ValueError(f"repeat_spec: count must be at least 1, got {count}")
    return jax.tree.map(lambda leaf: _repeat_array(leaf, count), spec)


def _repeat_array(leaf: ArraySpec, count: int) -> ArraySpec:
    torch_initializer = leaf.torch_initializer
    return dataclasses.replace(
        leaf,
        shape=(count, *leaf.shape),
        axes=("layers", *leaf.axes) if leaf.axes else (),
        initializer=_Stacked(leaf.initializer),
        torch_initializer=None if torch_initializer is None else _Stacked(torch_initializer),
    )


@dataclasses.dataclass(frozen=True)
class _Stacked:
    """An initializer along the first axis; equal ones are compiled once."""

    initializer: Initializer

    def __call__(self, key: Key, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        keys = jax.vmap(lambda i: subkey(key, i))(jnp.arange(shape[0]))
        return jax.vmap(lambda k: self.initializer(k, shape[1:], dtype))(keys)
