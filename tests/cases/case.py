"""What the layer table knows of one layer with one setting."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxnets import init, subkey
from jaxnets.spec import assemble


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
        noise: the deviation of the parameters from zero or one.
        step: by which parameters are moved for the difference that a gradient is compared with; a deep network needs a
            small one, or its kinks come in between.
        tolerance: how far jit may be from eager execution, relative to a value; sums of other order add up in depth.
        slow: whether it takes so long that it runs with the slow tests.
        unbatched: whether the inputs have no axis of examples.
        batched_state: whether the state has the inputs' axis of examples.
        state_of_parameters: whether the new state depends on the parameters and not on the inputs.
        needs_examples: whether an empty batch is an error.
        axis: of the inputs, along which they are repeated for more uses of each parameter.
        uses: how many entries that axis is to have for them.
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
    noise: float = 0.4
    step: float = 1e-6
    tolerance: float = 1e-5
    slow: bool = False
    unbatched: bool = False
    batched_state: bool = False
    state_of_parameters: bool = False
    needs_examples: bool = False
    axis: int = 0
    uses: int = 4096

    def parameters(self) -> bool:
        """Whether it has any."""
        return any(not leaf.is_state for leaf in jax.tree.leaves(self.spec))

    def init(self, dtype=np.float32):
        """Parameters that are not at their initial values, so that zeros and ones hide nothing, and the state.

        The parameters are numpy's, for which nothing has to be compiled.
        """
        generator = np.random.default_rng(1)
        noisy = jax.tree.map(lambda leaf: _noisy(leaf, generator, self.noise), self.spec)

        def make(path, leaf):
            if leaf.is_state:
                return init(leaf, functools.reduce(subkey, path, KEY), dtype=dtype)[1]
            return leaf.initializer(None, leaf.shape, dtype if leaf.dtype is None else leaf.dtype)

        return assemble(noisy, make)


KEY = jax.random.key(1)


def _noisy(leaf, generator, noise):
    """The same array initialized by numpy; state as it is."""
    if leaf.is_state:
        return leaf
    around = 1.0 if leaf.initializer is jax.nn.initializers.ones else 0.0
    values = around + generator.normal(size=leaf.shape) * noise
    return dataclasses.replace(leaf, initializer=lambda key, shape, dtype: values.astype(dtype))


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
