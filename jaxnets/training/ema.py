"""The moving average of the parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxnets.nn.check import compute_dtype
from jaxnets.training.state import TrainState
from jaxnets.tree import paths
from jaxnets.types import Array, DTypeLike, Params, PyTree


class EmaState(NamedTuple):
    """The optimizer state of `with_ema`.

    Attributes:
        inner: the state of the optimizer inside.
        average: the averaged parameters, in float32 at least: in bfloat16 a small step would be rounded away.
        updates: how many there were, an int32 scalar.
    """

    inner: PyTree
    average: Params
    updates: Array


def with_ema(
    optimizer: optax.GradientTransformation, decay: float, *, warmup: bool = True
) -> optax.GradientTransformation:
    """Keep an exponential moving average of the parameters: $a <- d a + (1 - d) theta$ after every update.

    It begins with the initial parameters and is part of the optimizer's state, so that every way to compile, save
    and resume a step covers it. `use_ema` returns the train state that evaluates with it.

    Args:
        optimizer: an optax optimizer; put `with_ema` outermost, around clipping, `freeze` and the rest.
        decay: d, from 0 to 1, such as 0.999.
        warmup: use $d = min(decay, (1 + n) / (10 + n))$ after n earlier updates, which forgets the initial values soon.

    Returns:
        An optax optimizer.

    Raises:
        ValueError: if the decay is not between 0 and 1; by `update`, if it is called without the parameters.

    Example:
        >>> optimizer = with_ema(optax.sgd(1.0), 0.5, warmup=False)
        >>> params = jnp.array([4.0])
        >>> _, state = optimizer.update(jnp.array([2.0]), optimizer.init(params), params)
        >>> state.average
        Array([3.], dtype=float32)

    Warning:
        TensorFlow's `ExponentialMovingAverage` warms up like this if it is given `num_updates`; PyTorch's
        `get_ema_multi_avg_fn` never does, and begins with the parameters after the first update.

    Reference:
        Polyak and Juditsky, Acceleration of stochastic approximation by averaging, 1992.
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"with_ema: decay must be from 0 to 1, got {decay}")

    def init(params: Params) -> EmaState:
        # Copies, because the buffers of a train state are donated and can be so only once.
        average = jax.tree.map(lambda leaf: jnp.array(leaf, _wide(leaf), copy=True), params)
        return EmaState(optimizer.init(params), average, jnp.zeros((), jnp.int32))

    def update(updates: PyTree, state: EmaState, params: Params | None = None, **extra: Any) -> tuple[PyTree, EmaState]:
        if params is None:
            raise ValueError("with_ema: update needs the parameters; write optimizer.update(gradients, state, params)")
        updates, inner = optax.with_extra_args_support(optimizer).update(updates, state.inner, params, **extra)
        count = state.updates.astype(jnp.float32)
        weight = jnp.minimum(jnp.float32(decay), (1 + count) / (10 + count)) if warmup else jnp.float32(decay)

        def average(old: Array, new: Array) -> Array:
            d = weight.astype(old.dtype)
            return d * old + (1 - d) * new.astype(old.dtype)

        new = optax.apply_updates(params, updates)
        return updates, EmaState(inner, jax.tree.map(average, state.average, new), state.updates + 1)

    return optax.GradientTransformationExtraArgs(init, update)


def use_ema(train_state: TrainState) -> TrainState:
    """Return the train state with the averaged parameters in the place of the trained ones.

    Of the networks that `alternate` trains, those are replaced whose optimizer is `with_ema`.

    Args:
        train_state: of a run whose optimizer is `with_ema`.

    Returns:
        A train state for evaluation, such as `evaluate(use_ema(train_state), data)`.

    Raises:
        ValueError: if the optimizer keeps no average, or one of some parameters only.

    Example:
        >>> optimizer = with_ema(optax.sgd(1.0), 0.9)
        >>> params = jnp.array([4.0])
        >>> use_ema(TrainState.create(params, optimizer.init(params), seed=0)).params
        Array([4.], dtype=float32)
    """
    params, opt_state = train_state.params, train_state.opt_state
    if not isinstance(opt_state, dict):
        return train_state._replace(params=_average(params, opt_state))
    kept = [name for name, own in opt_state.items() if _averages(own)] or list(opt_state)
    averaged = {name: _average(params[name], opt_state[name]) for name in kept}
    return train_state._replace(params={**params, **averaged})


def _average(params: Params, opt_state: PyTree) -> Params:
    found = _averages(opt_state)
    if len(found) != 1:
        raise ValueError(
            f"use_ema: expected one with_ema in the optimizer, found {len(found)}; "
            "write optimizer = with_ema(optax.adam(1e-3), 0.999)"
        )
    if list(paths(found[0])) != list(paths(params)):
        raise ValueError(
            "use_ema: the average is of some parameters only; put with_ema outermost, around freeze: "
            "with_ema(freeze(optimizer, 'conv1'), 0.999)"
        )
    return jax.tree.map(lambda average, leaf: average.astype(leaf.dtype), found[0], params)


def _wide(leaf: Array) -> DTypeLike:
    return compute_dtype(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf.dtype


def _averages(opt_state: PyTree) -> list[Params]:
    def is_ema(node: Any) -> bool:
        return isinstance(node, EmaState)

    return [node.average for node in jax.tree.leaves(opt_state, is_leaf=is_ema) if is_ema(node)]
