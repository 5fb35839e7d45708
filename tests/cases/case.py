"""What the layer table knows of one layer with one setting."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from jaxnets import init


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer with one setting.

    Attributes:
        name: shown in the test's id, such as "conv-2d-strided".
        layers: the public functions of `jaxnets.nn` that this case covers.
        spec: the spec of its parameters and state, {} if there are none.
        apply: `apply(params, state, inputs, key) -> (outputs, new_state)`, with static settings inside.
        inputs: a tree of numpy arrays; floating ones are converted to the dtype under test.
        random: whether the result depends on the key.
        unread: parameters (paths) on which the result does not depend, by design.
        differentiable: whether gradients are checked.
        bf16_tolerance: how far the bf16 result may be from the float32 one, relative to its largest entry.
    """

    name: str
    layers: tuple[Callable[..., Any], ...]
    spec: Any
    apply: Callable[..., Any]
    inputs: Any
    random: bool = False
    unread: tuple[str, ...] = ()
    differentiable: bool = True
    bf16_tolerance: float = 0.04

    def init(self, dtype=None):
        """Parameters that are not at their starting values, so that zeros and ones hide nothing."""
        params, state = init(self.spec, jax.random.key(1), **({} if dtype is None else {"dtype": dtype}))
        leaves, structure = jax.tree.flatten(params)
        noisy = [
            leaf + 0.1 * jax.random.normal(jax.random.fold_in(jax.random.key(2), i), leaf.shape, leaf.dtype)
            for i, leaf in enumerate(leaves)
        ]
        return jax.tree.unflatten(structure, noisy), state


def stateless(function, **settings):
    """The uniform `apply` of a layer `function(params, x, **settings)`."""

    def apply(params, state, inputs, key):
        return function(params, inputs, **settings), state

    return apply


def no_params(function, **settings):
    """The uniform `apply` of a function `function(x, **settings)` without parameters."""

    def apply(params, state, inputs, key):
        return function(inputs, **settings), state

    return apply
