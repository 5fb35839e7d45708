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
        seed: the seed of the run, a uint32 scalar. It never changes: the randomness of step n is folded from it by
            name and by n. (A number, because a key among the arrays would cost a compiled step several microseconds.)
    """

    step: Array
    params: Params
    state: State
    opt_state: PyTree
    seed: Array

    @property
    def key(self) -> Key:
        """The key of the run, made of the seed."""
        return jax.random.key(self.seed)


def init_train_state(
    model: Model, optimizer: optax.GradientTransformation, seed: int | Array, *, dtype: DTypeLike = jnp.float32
) -> TrainState:
    """Start a run: initialize the parameters, the state and the optimizer from one seed.

    Args:
        model: the network.
        optimizer: an optax optimizer.
        seed: an integer from 0 to 2^32 - 1, or a traced one.
        dtype: of the parameters.

    Returns:
        The train state before the first step.

    Raises:
        ValueError: if the seed does not fit 32 bits.

    Example:
        >>> import optax
        >>> from jaxnets import make_model, nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     return nn.linear(params, x), state
        >>> start = init_train_state(make_model(nn.linear_spec(3, 2), apply), optax.sgd(0.1), seed=7)
        >>> int(start.step), int(start.seed), start.params["kernel"].shape
        (0, 7, (3, 2))
    """
    if isinstance(seed, int) and not 0 <= seed < 2**32:
        raise ValueError(f"init_train_state: seed must be from 0 to 2**32 - 1, got {seed}")
    seed = jnp.asarray(seed, jnp.uint32)
    params, state = model.init(subkey(jax.random.key(seed), "init"), dtype=dtype)
    return TrainState(jnp.zeros((), jnp.int32), params, state, optimizer.init(params), seed)
