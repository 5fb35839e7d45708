"""The training step: a pure function from a train state and a batch to the next train state."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxnets.flops import count_flops
from jaxnets.integers import as_integer
from jaxnets.random import subkey
from jaxnets.sharding import Placement
from jaxnets.training.checks import check_loss_and_optimizer, check_opt_state
from jaxnets.training.first_step import reach
from jaxnets.training.gradient import Loss, loss_gradient
from jaxnets.training.loss_scale import loss_scale
from jaxnets.training.nonfinite import Gradients, decide, find_nonfinite, where
from jaxnets.training.optimizer_arguments import argument_names, check_lookahead, extra_arguments
from jaxnets.training.placed import check_one_way, placed_loss, placed_step
from jaxnets.training.state import Step as Step, TrainState
from jaxnets.tree import count
from jaxnets.types import Array, Params, PyTree, State

_CHEAP = 100
"""The operations in products per parameter up to which an update is rather computed twice than kept."""


def make_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    skip_nonfinite: int = 0,
    axis_name: str | None = None,
    placement: Placement | None = None,
) -> Step:
    """Make the training step of a loss and an optimizer: $theta <- theta + update(gradient)$.

    The step is pure and traceable: pass it to `jax.jit`, `jax.lax.scan`, `jax.vmap` over stacked train states, or to
    the helpers of `jaxnets.training`. The randomness of a step depends on the run's seed and the step's number alone.

    Args:
        loss: `loss(params, state, batch, *, key, train) -> (value, (new_state, metrics))`; see `supervised` and `Loss`.
        optimizer: an optax optimizer. Clipping, schedules and the like are optax's; see also `freeze` and `with_ema`.
        accumulate: the number of equal parts into which each batch is cut; their gradients are averaged one after
            the other, so that a batch needs the memory of one part. With a loss that is a mean over examples, or a
            streamable mean of weighted ones, the result is that of the whole batch, up to rounding; batch norm sees
            one part at a time.
        skip_nonfinite: how many steps with a number that is not finite may be left out in the run: a loss, a metric,
            a gradient, or what the step made. Such a step changes nothing but `.step` and `.skipped`, and its metrics
            count no examples. Further ones stop `fit`, and elsewhere are taken as they are. 0 looks at nothing and
            costs nothing, unless the train state says so (`TrainState.watch`).
        axis_name: of the mapped axis, when the step runs under `jax.pmap` (see `pmap_step`) or `jax.shard_map`, whose
            `check_vma` may be on or off: gradients are averaged over the devices and metrics added up.
        placement: where training runs on a mesh of devices, as `jaxnets.sharding.place` says; see `placed_step`. The
            program means what it means on one device.

    Returns:
        `step(train_state, batch) -> (train_state, metrics)`. Numbers among the loss's metrics become streamable means.
        Optimizers that ask for `value`, `grad`, `value_fn` or `grad_fn`, such as `optax.contrib.reduce_on_plateau`,
        `optax.lbfgs` and `optax.contrib.sam` with `opaque_mode=True`, are given them: see `extra_arguments`.
        `step(train_state, batch, constants)` passes a tree of arrays that do not train, such as a reference policy, to
        the loss, as the keyword `constants`.

    Raises:
        TypeError: if the loss or the optimizer is something else.
        ValueError: if `accumulate` or `skip_nonfinite` are out of range; by the step, if a batch cannot be cut into
            equal parts, the optimizer's state is that of another optimizer, or `axis_name` comes with a placement.

    Example:
        >>> import optax
        >>> def loss(params, state, batch, *, key, train):
        ...     return jnp.sum((params - batch) ** 2), (state, {})
        >>> step = make_step(loss, optax.sgd(0.25))
        >>> params = jnp.array([4.0])
        >>> start = TrainState.create(params, optax.sgd(0.25).init(params), seed=0)
        >>> after, _ = jax.jit(step)(start, jnp.array([2.0]))
        >>> after.params, int(after.step)
        (Array([3.], dtype=float32), 1)
    """
    check_loss_and_optimizer("make_step", loss, optimizer)
    accumulate = as_integer("make_step", "accumulate", accumulate, at_least=1)
    skip_nonfinite = as_integer("make_step", "skip_nonfinite", skip_nonfinite, at_least=0)
    names = argument_names(optimizer)
    check_one_way("make_step", axis_name, placement)
    local = loss if placement is None else placed_loss(loss, placement)

    def step(train_state: TrainState, batch: Any, constants: PyTree = None) -> tuple[TrainState, PyTree]:
        reach(step, train_state, batch, constants)
        check_opt_state("make_step", optimizer, train_state)
        check_lookahead("make_step", train_state.params, train_state.opt_state)
        bound = local if constants is None else functools.partial(local, constants=constants)
        gradient = loss_gradient(bound, accumulate=accumulate, axis_name=axis_name)
        key = subkey(subkey(train_state.key, "step"), train_state.step)
        if axis_name is not None:
            key = subkey(key, jax.lax.axis_index(axis_name))
        scale = loss_scale("make_step", loss, train_state.opt_state)
        value, gradients, state, metrics = gradient(train_state.params, train_state.state, batch, key=key, scale=scale)
        extra = extra_arguments(names, gradient, train_state.state, batch, key, value, gradients)
        update = functools.partial(_update, optimizer, extra)
        return take_step(update, train_state, value, gradients, state, metrics, skip_nonfinite=skip_nonfinite)

    step.finds_nonfinite = True  # type: ignore[attr-defined]
    step.optimizer = optimizer  # type: ignore[attr-defined]
    step.loss = loss  # type: ignore[attr-defined]
    step.on_mesh = functools.partial(  # type: ignore[attr-defined]
        make_step, loss, optimizer, accumulate=accumulate, skip_nonfinite=skip_nonfinite
    )
    return step if placement is None else placed_step(step, placement)


Update: TypeAlias = Callable[[PyTree, Params, PyTree], tuple[Params, PyTree, PyTree]]
"""`update(gradients, params, opt_state) -> (params, opt_state, updates)`."""


def _update(
    optimizer: Any, extra: dict[str, Any], gradients: PyTree, params: Params, opt_state: PyTree
) -> tuple[Params, PyTree, PyTree]:
    if isinstance(gradients, optax.LookaheadParams):  # optax.lookahead takes those of its fast parameters
        gradients = gradients.fast
    updates, opt_state = optimizer.update(gradients, opt_state, params, **extra)
    return optax.apply_updates(params, updates), opt_state, updates


def take_step(
    update: Update,
    train_state: TrainState,
    loss: Array,
    gradients: PyTree,
    state: State,
    metrics: PyTree,
    *,
    skip_nonfinite: int = 0,
) -> tuple[TrainState, PyTree]:
    """Return what a step returns, from its gradient: the next train state and the metrics.

    If the train state has a `Watch`, the update is computed twice on CPU, first to look at it and then to write it in
    place; so the memory of the train state is needed once, and no more time than for keeping the old one.

    Args:
        update: what the optimizer does with gradients.
        train_state: before the step.
        loss: of the step.
        gradients: of the loss.
        state: the new state of the model.
        metrics: of the step.
        skip_nonfinite: see `make_step`.

    Example:
        >>> initial = TrainState.create(jnp.ones(2), (), seed=0)
        >>> def descend(gradients, params, opt_state):
        ...     return params - 0.5 * gradients, opt_state, -0.5 * gradients
        >>> take_step(descend, initial, jnp.array(1.0), jnp.array([1.0, 2.0]), {}, {})[0].params
        Array([0.5, 0. ], dtype=float32)
    """
    params, opt_state, updates = update(gradients, train_state.params, train_state.opt_state)
    after = train_state._replace(step=train_state.step + 1, params=params, state=state, opt_state=opt_state)
    if train_state.watch is None and not skip_nonfinite:
        return after, metrics
    found = find_nonfinite(after, loss=loss, metrics=metrics, gradients=Gradients(gradients, updates))
    skip, stop, watch = decide(train_state, found, skip_nonfinite)
    if watch is None:
        after = where(skip, train_state, after)._replace(step=after.step)
    else:
        arguments = gradients, train_state.params, train_state.opt_state
        params, opt_state = _written(update, ~skip & ~stop, (params, opt_state), *arguments)
        after = after._replace(
            step=jnp.where(stop, train_state.step, after.step),
            params=params,
            state=where(skip | stop, train_state.state, state),
            opt_state=opt_state,
            watch=watch,
        )
    skipped = train_state.skipped + skip.astype(jnp.int32)
    return after._replace(skipped=skipped), where(skip, jax.tree.map(jnp.zeros_like, metrics), metrics)


def _written(update: Update, take: Array, new: tuple[Params, PyTree], *arguments: PyTree) -> tuple[Params, PyTree]:
    """The parameters and the optimizer's state after an update, or as they are unless it is to be taken.

    Where memory or time would be lost by choosing, on CPU, `_write_in_place` does the same. An optimizer with products
    of matrices, such as Muon, or one that computes losses would do so twice by that.
    """

    def choose(new: tuple[Params, PyTree], *arguments: PyTree) -> tuple[Params, PyTree]:
        """Other backends do that in place, and a loop there waits for the host in every step."""
        chosen: tuple[Params, PyTree] = where(take, new, arguments[1:])
        return chosen

    def in_place(new: tuple[Params, PyTree], *arguments: PyTree) -> tuple[Params, PyTree]:
        return _write_in_place(update, take, *arguments)

    if count_flops(update, *arguments) > _CHEAP * count(arguments[1]):
        return choose(new, *arguments)
    written: tuple[Params, PyTree] = jax.lax.platform_dependent(new, *arguments, cpu=in_place, default=choose)
    return written


def _write_in_place(
    update: Update, take: Array, gradients: PyTree, params: Params, opt_state: PyTree
) -> tuple[Params, PyTree]:
    """Update in a loop of one turn or none: XLA for CPU would hold old and new arrays at once to choose from them."""

    def write(turn: Array, old: tuple[Params, PyTree]) -> tuple[Params, PyTree]:
        # The barrier keeps XLA from computing parts of the update before the loop, into memory of their own.
        params, opt_state, _ = update(jax.lax.optimization_barrier((turn, gradients))[1], *old)
        return params, opt_state

    written: tuple[Params, PyTree] = jax.lax.fori_loop(0, jnp.where(take, 1, 0), write, (params, opt_state))
    return written
