"""The state of a training run: one pytree, from which every later step follows."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.types import Array, DTypeLike, Key, Params, PyTree, State


class TrainState(NamedTuple):
    """Everything that a training step reads and writes.

    Attributes:
        step: optimizer steps done, an int32 scalar.
        params: the parameters.
        state: what the model updates itself, such as batch statistics.
        opt_state: the optimizer's state.
        key: the key of the run. It never changes: the randomness of step n is folded from it by name and by n.
    """

    step: Array
    params: Params
    state: State
    opt_state: PyTree
    key: Key


def init_train_state(
    model: Model, optimizer: optax.GradientTransformation, seed: int | Key, *, dtype: DTypeLike = jnp.float32
) -> TrainState:
    """Start a run: initialize the parameters, the state and the optimizer from one seed.

    Args:
        model: the network.
        optimizer: an optax optimizer.
        seed: an integer or a typed PRNG key.
        dtype: of the parameters.

    Returns:
        The train state before the first step.

    Example:
        >>> import optax
        >>> from jaxnets import nn
        >>> model = make_linear = Model(init=lambda key, dtype: ({"w": jnp.zeros(3, dtype)}, {}), apply=None)
        >>> int(init_train_state(model, optax.sgd(0.1), seed=0).step)
        0
    """
    key = jax.random.key(seed) if isinstance(seed, int) else seed
    params, state = model.init(subkey(key, "init"), dtype=dtype)
    return TrainState(jnp.zeros((), jnp.int32), params, state, optimizer.init(params), key)
