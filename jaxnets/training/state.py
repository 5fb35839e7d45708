"""The state of a training run: one pytree, from which every later step follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxnets.compiler import compile_quickly
from jaxnets.integers import as_seed
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.sharding import Placement
from jaxnets.training.checks import check_optimizer
from jaxnets.training.first_step import note_model
from jaxnets.training.shardings import given_on_mesh, train_state_shardings
from jaxnets.tree import paths
from jaxnets.types import Array, DTypeLike, Key, Params, PyTree, State


class Watch(NamedTuple):
    """What `fit` puts into a train state to stop its steps: at the first number that is not finite, or after enough.

    `jaxnets.training.nonfinite` says what the positions stand for.

    Attributes:
        remaining: int32, how many steps are still taken; further ones leave the train state as it is.
        measured: int32, the position of the loss or the metric that was not finite; 0 if all are finite.
        array: int32, the position of the gradient, or of the array of parameters, state or optimizer after the step,
            that was not finite; 0 if all are finite.
    """

    remaining: Array
    measured: Array
    array: Array


class TrainState(NamedTuple):
    """Everything that a training step reads and writes.

    Attributes:
        step: optimizer steps done, int32.
        seed: the seed of the run, uint32, which never changes: the randomness of step n is folded from it by name and
            by n.
        params: the parameters.
        state: what the model updates itself, such as batch statistics.
        opt_state: the optimizer's state.
        skipped: steps that were skipped because a number was not finite, int32; see `make_step`.
        watch: None: steps do not look for numbers that are not finite. With a `Watch` a step that finds one leaves
            everything else as it was; `fit` puts it in, and takes it out of what it returns.

    Example:
        >>> initial = TrainState.create({"w": jnp.ones(2)}, optax.sgd(0.1).init({"w": jnp.ones(2)}), seed=7)
        >>> int(initial.step), int(initial.seed), int(initial._replace(step=initial.step + 3).step)
        (0, 7, 3)
    """

    step: Array
    seed: Array
    params: Params
    state: State
    opt_state: PyTree
    skipped: Array
    watch: Watch | None = None

    @classmethod
    def create(
        cls, params: Params, opt_state: PyTree, *, state: State | None = None, seed: int | Array, step: int | Array = 0
    ) -> TrainState:
        """Make a train state. Its arrays are copies, because steps write over those of a train state.

        Args:
            params: the parameters.
            opt_state: the optimizer's state, `optimizer.init(params)`.
            state: the model's state; by default it has none.
            seed: an integer from 0 to 2^32 - 1, or a traced one.
            step: optimizer steps done.

        Raises:
            TypeError: if the seed is no integer.
            ValueError: if it does not fit 32 bits.
        """
        seed = as_seed("TrainState", seed)
        params, state, opt_state = jax.tree.map(_copied, (params, {} if state is None else state, opt_state))
        return cls(
            step=_number(step, jnp.int32),
            seed=_number(seed, jnp.uint32),
            params=params,
            state=state,
            opt_state=opt_state,
            skipped=_number(0, jnp.int32),
        )

    @property
    def key(self) -> Key:
        """The key of the run, made of the seed."""
        return jax.random.key(self.seed)


def _number(value: int | Array, dtype: DTypeLike) -> Array:
    """The number as an array, which `jnp.array` would make by a program that has to be compiled."""
    return jax.device_put(np.asarray(value, dtype)) if isinstance(value, int) else jnp.array(value, dtype)


def _copied(leaf: Any) -> Any:
    """A copy of an array, which on one device needs no program for each shape."""
    if not isinstance(leaf, jax.Array):
        return leaf
    if isinstance(leaf, jax.core.Tracer) or len(leaf.devices()) > 1:
        return jnp.copy(leaf)
    return jax.device_put(leaf, may_alias=False)


Step: TypeAlias = Callable[..., tuple[TrainState, PyTree]]
"""`step(train_state, batch) -> (train_state, metrics)`, a pure function; with constants those come third."""


def init_train_state(
    model: Model,
    optimizer: optax.GradientTransformation,
    seed: int | Array,
    *,
    params: Params | None = None,
    state: State | None = None,
    dtype: DTypeLike = jnp.float32,
    placement: Placement | None = None,
) -> TrainState:
    """Initialize the parameters, the state and the optimizer from one seed, or go on from given ones.

    Args:
        model: the network.
        optimizer: an optax optimizer.
        seed: an integer from 0 to 2^32 - 1, or a traced one.
        params: parameters to begin with, all or some: what is left out, such as a new head, is initialized.
        state: state to begin with, as `params`.
        dtype: of the parameters that are initialized.
        placement: where the arrays lie on a mesh of devices, as `jaxnets.sharding.place` says. Each device makes its
            parts only, so the train state may be larger than the memory of one; the numbers are the same.

    Returns:
        The train state before the first step.

    Raises:
        ValueError: if the seed does not fit 32 bits, or the model has no such parameters or state as are given.
        TypeError: if the seed is no integer, or the optimizer is something else.

    Example:
        >>> import optax
        >>> from jaxnets import make_model, nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     return nn.linear(params, x), state
        >>> initial = init_train_state(make_model(nn.linear_spec(3, 2), apply), optax.sgd(0.1), seed=7)
        >>> int(initial.step), int(initial.seed), initial.params["kernel"].shape
        (0, 7, (3, 2))
        >>> given = {"bias": jnp.array([1.0, 2.0])}
        >>> init_train_state(make_model(nn.linear_spec(3, 2), apply), optax.sgd(0.1), 7, params=given).params["bias"]
        Array([1., 2.], dtype=float32)
    """
    check_optimizer("init_train_state", optimizer)
    note_model(model)
    seed = as_seed("init_train_state", seed)

    def initialize(params: Params | None, state: State | None) -> TrainState:
        key = subkey(jax.random.key(_number(seed, jnp.uint32)), "init")
        fresh = model.init(key, dtype=dtype)
        params, state = _filled("params", fresh[0], params), _filled("state", fresh[1], state)
        opt_state = _initialize(optimizer, params, traced=isinstance(key, jax.core.Tracer))
        return TrainState.create(params, opt_state, state=state, seed=seed)

    if placement is None:
        return initialize(params, state)
    shardings = train_state_shardings(jax.eval_shape(initialize, params, state), placement)
    params, state = given_on_mesh(params, placement), given_on_mesh(state, placement)
    result: TrainState = jax.jit(initialize, out_shardings=shardings)(params, state)
    return result


def _initialize(optimizer: optax.GradientTransformation, params: Params, *, traced: bool) -> PyTree:
    """The optimizer's state, by one program and not by one for each shape, where JAX can trace it."""
    if traced or any(len(leaf.devices()) > 1 for leaf in jax.tree.leaves(params)):
        return optimizer.init(params)
    try:
        return compile_quickly(optimizer.init, traced=False)(params)
    except (TypeError, AttributeError):  # it looks at values, or holds no arrays, of which jax 0.7 fails to say so
        return optimizer.init(params)


def _filled(name: str, fresh: PyTree, given: PyTree | None) -> PyTree:
    """The fresh tree with the given arrays in it, or ValueError."""
    if given is None:
        return fresh
    known, chosen = paths(fresh), paths(given)
    if unknown := [path for path in chosen if path not in known]:
        raise ValueError(
            f"init_train_state: the model has no {name} {', '.join(unknown[:3])}; it has {', '.join(known) or 'none'}"
        )
    for path, leaf in chosen.items():
        if jnp.shape(leaf) != known[path].shape:
            raise ValueError(
                f"init_train_state: {name} {path!r} must be {list(known[path].shape)}, got {list(jnp.shape(leaf))}; "
                "leave it out to have it initialized"
            )
    leaves = [jnp.asarray(chosen.get(path, leaf)) for path, leaf in known.items()]
    return jax.tree.unflatten(jax.tree.structure(fresh), leaves)
