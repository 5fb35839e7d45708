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
        params: the parameters.
        state: what the model updates itself, such as batch statistics.
        opt_state: the optimizer's state.
        counters: uint32 `[3]`: the optimizer steps done, the seed of the run, which never changes, and the bad steps
            that were skipped; read them as `.step`, `.seed`, `.key` and `.skipped`. One array, because each array
            costs a compiled step about a microsecond.

    Example:
        >>> start = TrainState.create({"w": jnp.ones(2)}, optax.sgd(0.1).init({"w": jnp.ones(2)}), seed=7)
        >>> int(start.step), int(start.seed), int(start.with_step(3).step)
        (0, 7, 3)
    """

    params: Params
    state: State
    opt_state: PyTree
    counters: Array

    @classmethod
    def create(
        cls, params: Params, opt_state: PyTree, *, state: State | None = None, seed: int | Array, step: int | Array = 0
    ) -> TrainState:
        """Make a train state.

        Args:
            params: the parameters.
            opt_state: the optimizer's state, `optimizer.init(params)`. It is copied, because some optimizers keep the
                parameters' own buffers or those of a setting in it, and buffers can be donated only once.
            state: the model's state; by default it has none.
            seed: an integer from 0 to 2^32 - 1, or a traced one.
            step: optimizer steps done.

        Raises:
            ValueError: if the seed does not fit 32 bits.
        """
        if isinstance(seed, int) and not 0 <= seed < 2**32:
            raise ValueError(f"TrainState: seed must be from 0 to 2**32 - 1, got {seed}")
        numbers = [jnp.asarray(number, jnp.uint32) for number in (step, seed, 0)]
        opt_state = jax.tree.map(lambda leaf: jnp.copy(leaf) if isinstance(leaf, jax.Array) else leaf, opt_state)
        return cls(params, {} if state is None else state, opt_state, jnp.stack(numbers))

    @property
    def step(self) -> Array:
        """Optimizer steps done, int32."""
        return self.counters[..., 0].astype(jnp.int32)

    @property
    def seed(self) -> Array:
        """The seed of the run, uint32: the randomness of step n is folded from it by name and by n."""
        return self.counters[..., 1]

    @property
    def key(self) -> Key:
        """The key of the run, made of the seed."""
        return jax.random.key(self.seed)

    @property
    def skipped(self) -> Array:
        """Steps that were skipped because a gradient was not finite, int32; see `make_step`."""
        return self.counters[..., 2].astype(jnp.int32)

    def with_step(self, step: int | Array) -> TrainState:
        """Return the same with another number of steps done."""
        return self._replace(counters=self.counters.at[..., 0].set(jnp.asarray(step, jnp.uint32)))


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
    key = subkey(jax.random.key(jnp.asarray(seed, jnp.uint32)), "init")
    params, state = model.init(key, dtype=dtype)
    return TrainState.create(params, optimizer.init(params), state=state, seed=seed)
