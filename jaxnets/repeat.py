"""Repeated blocks: compiled once, however many there are, or written out one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.backend import fast_path, platform
from jaxnets.layer import NO_MARKS, marked
from jaxnets.random import subkey
from jaxnets.recompute import keep_costly
from jaxnets.tree import describe, differences
from jaxnets.types import Key, Params, State

_WRITTEN_OUT_ON_GPU = 24
"""Blocks that take 1.2 times as long in a scan (GPT-2 124M), which copies what their gradient needs."""


def repeat(
    block: Callable[..., Any],
    params: Params,
    x: Any,
    *,
    state: State | None = None,
    key: Key | None = None,
    remat: bool = False,
    unroll: int = 0,
) -> Any:
    """Run x through blocks of the same form, one after the other, as a rule in one `lax.scan`.

    x_(i+1) = block(params_i, x_i). In a scan the program holds the block once, so compile time does not grow with
    depth. The backward pass of a scan computes elementwise operations of a block again (`jaxnets.recompute`), which
    takes less memory and less time than to store their results for every block.

    Args:
        block: `block(params, x) -> x`, such as a layer; with `state`, `block(params, state, x) -> (x, new_state)`. The
            result has the shape and dtype of `x`. Pass static settings such as `train` by `functools.partial`.
        params: parameters with a first axis `[count, ...]`, as `init(repeat_spec(spec, count), key)` makes them, or a
            list of those of each block (`unstack`), which are then written out.
        x: the input of the first block, an array or a tree of arrays.
        state: state with the same first axis, or a list as `params`; None for blocks without.
        key: block i is called with `key=subkey(key, i)`; without one, blocks are called without `key`.
        remat: keep only the blocks' inputs for the backward pass and compute the rest again (`jax.checkpoint`):
            less memory for one more forward pass.
        unroll: on CPU, up to this many blocks are written out, unless `remat` is set: a scan copies the parameters of
            each block and what its gradient needs. On GPU up to 24 are: that takes longer to compile. Blocks whose
            parameters are divided over the devices of a batch never are: they would be kept whole for the gradient.

    Returns:
        What the last block returned; with `state`, the pair of that and the new state of all blocks.

    Raises:
        ValueError: if there are no parameters, their first axes differ, a block does not return what it should, or
            `params` is a list and `state` is not one as long.

    Example:
        >>> import functools
        >>> from jaxnets import init, nn, repeat_spec
        >>> params, _ = init(repeat_spec(nn.transformer_block_spec(8, heads=2), 3), jax.random.key(0))
        >>> block = functools.partial(nn.transformer_block, causal=True, train=False)
        >>> repeat(block, params, jnp.ones((2, 5, 8))).shape
        (2, 5, 8)
    """
    written_out = isinstance(params, list)
    count = _count_list(params, state) if written_out else _count((params, state))
    x = jax.tree.map(jnp.asarray, x)

    def body(carry: Any, slices: tuple[Params, State, Any]) -> tuple[Any, State]:
        block_params, block_state, index = slices
        settings = {} if key is None else {"key": subkey(key, index)}
        if state is None:
            result = block(block_params, carry, **settings), None
        else:
            result = block(block_params, block_state, carry, **settings)
        _check_block(result, carry, with_state=state is not None)
        return result

    if remat:
        body = jax.checkpoint(body)
    # blocks that are written out keep their activations, remat or not: XLA for CPU computes nothing twice
    few = not remat and count <= {"cpu": unroll, "gpu": _WRITTEN_OUT_ON_GPU}.get(platform(), 0)
    placed = getattr(params, "marks", NO_MARKS).placed
    if placed is not None and placed.gathers:  # in a scan each block is gathered again for its gradient, and not kept
        few = False
    if fast_path("repeat", "cpu", "gpu", "tpu") and not few and not written_out:
        recomputed = remat or fast_path("recompute", "cpu", "gpu", "tpu")
        if recomputed and not remat:
            body = jax.checkpoint(body, policy=keep_costly, prevent_cse=False)
        params = params if placed is None else marked(params, recomputed=recomputed)
        x, new_state = jax.lax.scan(body, x, (params, state, jnp.arange(count)))
    else:
        states = []
        for block_params, block_state, index in zip(
            _apart(params, count), _apart(state, count), range(count), strict=True
        ):
            x, new_state = body(x, (block_params, block_state, index))
            states.append(new_state)
        new_state = states if written_out else jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    return x if state is None else (x, new_state)


def unstack(params: Params) -> list[Params]:
    """Take the parameters of repeated blocks apart: one entry a block.

    A compiled program copies slices of a stacked array, all of them at each call. Done once, before generating many
    times, this saves it; `repeat` and the steps of decoders take both.

    Args:
        params: a tree of arrays `[count, ...]`, of parameters or of state; a list is returned as it is.

    Returns:
        `count` trees of arrays `[...]`.

    Raises:
        ValueError: if there are no arrays, or their first axes differ.

    Example:
        >>> unstack({"scale": jnp.array([[1.0], [2.0]])})
        [{'scale': Array([1.], dtype=float32)}, {'scale': Array([2.], dtype=float32)}]
    """
    return params if isinstance(params, list) else _apart(params, _count(params))


def _apart(tree: Any, count: int) -> list[Any]:
    """The entries of a list, or of stacked arrays; a tree without arrays is that of every block."""
    return tree if isinstance(tree, list) else [jax.tree.map(lambda leaf, at=i: leaf[at], tree) for i in range(count)]


def _count_list(params: list[Params], state: State | None) -> int:
    """How many blocks the list has, or ValueError."""
    if not params:
        raise ValueError("repeat: params is an empty list; it needs one entry a block")
    if state is not None and (not isinstance(state, list) or len(state) != len(params)):
        given = f"a list of {len(state)}" if isinstance(state, list) else f"a {type(state).__name__}"
        raise ValueError(f"repeat: with params as a list of {len(params)} blocks, state must be one too, got {given}")
    return len(params)


def _count(arrays: Any) -> int:
    """The size of the first axis of all arrays, or ValueError."""
    counts = {np.shape(leaf)[0] if np.ndim(leaf) else -1 for leaf in jax.tree.leaves(arrays)}
    if len(counts) != 1 or -1 in counts:
        raise ValueError(
            "repeat: every array of params and state needs the same first axis, one entry a block, "
            f"as repeat_spec makes it; got first axes {sorted('none' if count < 0 else str(count) for count in counts)}"
        )
    return int(counts.pop())


def _check_block(result: Any, given: Any, *, with_state: bool) -> None:
    if with_state and not (isinstance(result, tuple) and len(result) == 2):
        raise ValueError(
            f"repeat: with state, a block returns the pair (x, new_state), got {describe(result)}; leave state out for "
            "a block without state"
        )
    returned = result[0]
    if differences(returned, given):
        advice = "" if with_state else "; a block with state is repeated by repeat(block, params, x, state=state)"
        raise ValueError(
            "repeat: a block must return an array of the shape and dtype that it was given, which the next block gets; "
            f"it was given {describe(given)} and returned {describe(returned)}"
            + (advice if isinstance(returned, tuple) else "")
        )
