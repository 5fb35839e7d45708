"""The one interface that training, checkpoints, export and the model zoo see: `Model(init, apply)`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxnets.layer import name_layer
from jaxnets.spec import Spec, init
from jaxnets.types import Key, Params, State

if TYPE_CHECKING:
    from jaxnets.config import ModelConfig


class Model(NamedTuple):
    """A network as two pure functions, and what they were made of.

    Attributes:
        init: `init(key, *, dtype=float32) -> (params, state)`, two nested dicts of arrays.
        apply: `apply(params, state, inputs, *, key=None, train) -> (outputs, new_state)`. `train` says whether
            dropout drops and batch norm uses the batch; `key` is needed only where something is random.
        config: the settings of which all else follows, so that `save_model` can write them; None for a network that
            has none.
        spec: describes the arrays that `init` makes; None for networks of other libraries.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from jaxnets import nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     return nn.linear(params["fc"], x), state
        >>> model = make_model({"fc": nn.linear_spec(3, 2)}, apply)
        >>> params, state = model.init(jax.random.key(0))
        >>> outputs, state = model.apply(params, state, jnp.ones((5, 3)), train=False)
        >>> outputs.shape
        (5, 2)
    """

    init: Callable[..., tuple[Params, State]]
    apply: Callable[..., tuple[Any, State]]
    config: ModelConfig | None = None
    spec: Spec = None

    def __hash__(self) -> int:  # a spec has none
        return hash((self.init, self.apply))


def make_model(spec: Spec, apply: Callable[..., tuple[Any, State]], config: ModelConfig | None = None) -> Model:
    """Make a `Model` of a spec and the function that runs it; errors in it name the path of the layer.

    Args:
        spec: a nested dict or list of `ArraySpec`s.
        apply: `apply(params, state, inputs, *, key=None, train) -> (outputs, new_state)`.
        config: the settings of which both were made, if there are any.

    Returns:
        The model. See `Model` for an example.
    """

    @functools.wraps(apply)
    def located_apply(
        params: Params, state: State, inputs: Any, *, key: Key | None = None, train: bool
    ) -> tuple[Any, State]:
        try:
            return apply(params, state, inputs, key=key, train=train)
        except (ValueError, TypeError) as error:
            name_layer(error, lambda named: apply(named, state, inputs, key=key, train=train), params)
            raise

    return Model(functools.partial(init, spec), located_apply, config, spec)
