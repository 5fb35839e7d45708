"""Repeated blocks: compiled once, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnets.backend import fast_path, platform
from jaxnets.random import subkey
from jaxnets.recompute import keep_costly
from jaxnets.types import Key, Params, State


def repeat(
    block: Callable[..., tuple[Any, State]],
    params: Params,
    state: State,
    x: Any,
    *,
    key: Key | None = None,
    remat: bool = False,
    unroll: int = 0,
) -> tuple[Any, State]:
    """Run x through blocks of the same form, one after the other, in one `lax.scan`.

    x_(i+1) = block(params_i, x_i). The program holds the block once, so compile time does not grow with depth. With
    `JAXNETS_PLAIN=repeat` it holds every block instead, which takes longer to compile.

    The backward pass computes elementwise operations of a block again (`jaxnets.recompute`), which takes less memory
    and less time than to store their results for every block.

    Args:
        block: `block(params, state, x, *, key) -> (x, new_state)`. The result has the shape and dtype of `x`. Pass
            static settings such as `train` by a lambda or `functools.partial`.
        params: parameters with a first axis `[count, ...]`, as `init(repeat_spec(spec, count), key)` makes them.
        state: state with the same first axis, or `{}`.
        x: the input of the first block, an array or a tree of arrays.
        key: the key of block i is `subkey(key, i)`.
        remat: keep only the blocks' inputs for the backward pass and compute the rest again (`jax.checkpoint`):
            less memory for one more forward pass.
        unroll: on CPU, up to this many blocks are written out: a scan copies the parameters of each block and what
            its gradient needs.

    Returns:
        `(x, new_state)`: what the last block returned, and the state of all blocks.

    Raises:
        ValueError: if there are no parameters, or their first axes differ.

    Example:
        >>> from jaxnets import init, nn, repeat_spec
        >>> params, state = init(repeat_spec(nn.linear_spec(4, 4), 3), jax.random.key(0))
        >>> block = lambda params, state, x, key: (jax.nn.relu(nn.linear(params, x)), state)
        >>> y, _ = repeat(block, params, state, jnp.ones((2, 4)))
        >>> y.shape
        (2, 4)
    """
    counts = {np.shape(leaf)[0] if np.ndim(leaf) else -1 for leaf in jax.tree.leaves((params, state))}
    if len(counts) != 1 or -1 in counts:
        raise ValueError(
            "repeat: every array of params and state needs the same first axis, one entry a block, "
            f"as repeat_spec makes it; got first axes {sorted('none' if count < 0 else str(count) for count in counts)}"
        )
    count = counts.pop()

    def body(carry: Any, slices: tuple[Params, State, Any]) -> tuple[Any, State]:
        block_params, block_state, index = slices
        return block(block_params, block_state, carry, key=subkey(key, index))

    if remat:
        body = jax.checkpoint(body)
    few = platform() == "cpu" and count <= unroll
    if fast_path("repeat", "cpu", "gpu", "tpu") and not few:
        if not remat and fast_path("recompute", "cpu", "gpu", "tpu"):
            body = jax.checkpoint(body, policy=keep_costly, prevent_cse=False)
        return jax.lax.scan(body, x, (params, state, jnp.arange(count)))
    states = []
    for index in range(count):
        block_params, block_state = jax.tree.map(lambda leaf, at=index: leaf[at], (params, state))
        x, new_state = body(x, (block_params, block_state, index))
        states.append(new_state)
    return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
