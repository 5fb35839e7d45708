"""The training step: a pure function from a train state and a batch to the next train state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from jaxnets import metrics as metric
from jaxnets.model import Model
from jaxnets.random import subkey
from jaxnets.training.gradient import Loss, accumulated_gradient, loss_gradient
from jaxnets.training.nonfinite import finite_numbers, skip_bad_step
from jaxnets.training.state import TrainState
from jaxnets.types import Array, Key, Params, PyTree, State

Step: TypeAlias = Callable[[TrainState, Any], tuple[TrainState, PyTree]]
"""`step(train_state, batch) -> (train_state, metrics)`, a pure function."""


class CheckedStep:
    """A step that can also tell whether its numbers were finite; called, it is as any other.

    A compiled program that calls it, and not `checked`, does without the check.

    Attributes:
        checked: `checked(train_state, batch) -> (train_state, metrics, finite)`, where `finite` is what
            `jaxnets.training.nonfinite.finite_numbers` returns.
    """

    def __init__(self, checked: Callable[[TrainState, Any], tuple[TrainState, PyTree, PyTree]]):
        self.checked = checked

    def __call__(self, train_state: TrainState, batch: Any) -> tuple[TrainState, PyTree]:
        """Take the step."""
        after, metrics, _ = self.checked(train_state, batch)
        return after, metrics


def checked_step(step: Step) -> CheckedStep:
    """Return a step that has `checked`; of a plain function it tells nothing.

    What `jax.jit` or `compile_step` made is taken out of it, because the options of a compiler cannot be nested.

    Example:
        >>> step = checked_step(jax.jit(lambda train_state, batch: (train_state, {"sum": batch})))
        >>> step.checked(None, 2)
        (None, {'sum': 2}, {})
    """
    if hasattr(step, "lower"):
        step = getattr(step, "__wrapped__", step)
    return step if isinstance(step, CheckedStep) else CheckedStep(lambda *arguments: (*step(*arguments), {}))


def supervised(
    model: Model,
    loss: Callable[[Any, Any], Array],
    metrics: Mapping[str, Callable[[Any, Any], Any]] | None = None,
) -> Loss:
    """Build the usual loss of a model: the mean over a batch of (inputs, targets) pairs.

    Args:
        model: the network.
        loss: `loss(outputs, targets)` gives one number an example, `[batch, ...]`, as those of `jaxnets.losses`.
        metrics: by name, functions of (outputs, targets) that return a streamable metric, as `jaxnets.metrics` has.

    Returns:
        A loss for `make_step`. Its batch is the pair `(inputs, targets)`; its metrics are `"loss"` and those given.

    Raises:
        ValueError: if a metric is named `"loss"`; by the returned loss, if `loss` gives a single number.
        TypeError: by the returned loss, if a batch is not a pair.

    Example:
        >>> from jaxnets import losses, make_model, nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     return nn.linear(params, x), state
        >>> model = make_model(nn.linear_spec(2, 3), apply)
        >>> loss = supervised(model, losses.cross_entropy, {"accuracy": metric.accuracy})
        >>> params, state = model.init(jax.random.key(0))
        >>> batch = jnp.ones((4, 2)), jnp.zeros(4, jnp.int32)
        >>> value, (state, metrics) = loss(params, state, batch, key=None, train=True)
        >>> value.shape, sorted(metrics)
        ((), ['accuracy', 'loss'])
    """
    metrics = dict(metrics or {})
    if "loss" in metrics:
        raise ValueError("supervised: 'loss' is the name of the loss itself; give the metric another name")

    def loss_function(
        params: Params, state: State, batch: Any, *, key: Key | None, train: bool
    ) -> tuple[Array, tuple[State, PyTree]]:
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise TypeError(f"supervised: a batch is the pair (inputs, targets), got {type(batch).__name__}")
        inputs, targets = batch
        outputs, new_state = model.apply(params, state, inputs, key=key, train=train)
        values = loss(outputs, targets)
        if jnp.ndim(values) == 0:
            raise ValueError(
                "supervised: loss(outputs, targets) must give one number an example, [batch], got a single one; leave "
                "out its mean, so that the examples of an incomplete last batch count as much as all others"
            )
        measured = {"loss": metric.mean(values)}
        measured |= {name: function(outputs, targets) for name, function in metrics.items()}
        return jnp.mean(values), (new_state, measured)

    return loss_function


def make_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    skip_nonfinite: int = 0,
    axis_name: str | None = None,
) -> Step:
    """Make the training step of a loss and an optimizer: theta <- theta + update(gradient).

    The step is pure and traceable: pass it to `jax.jit`, `jax.lax.scan`, `jax.vmap` over stacked train states, or to
    the helpers of `jaxnets.training`. The randomness of a step depends on the run's seed and the step's number alone.

    Args:
        loss: `loss(params, state, batch, *, key, train) -> (scalar, (new_state, metrics))`; see `supervised`.
        optimizer: an optax optimizer. Clipping, schedules and the like are optax's; see also `freeze` and `with_ema`.
        accumulate: the number of equal parts into which each batch is cut; their gradients are averaged one after
            the other, so that a batch needs the memory of one part. With a loss that is a mean over examples the
            result is that of the whole batch, up to rounding; batch norm sees one part at a time.
        skip_nonfinite: how many steps with a loss or a gradient that is not finite may be left out in the run. Such
            a step changes nothing but `.step` and `.skipped`, and its metrics count no examples. Further ones are
            taken as they are. 0 looks at nothing and costs nothing.
        axis_name: of the mapped axis, when the step runs under `jax.pmap` (see `pmap_step`): gradients are averaged
            over the devices and metrics added up.

    Returns:
        `step(train_state, batch) -> (train_state, metrics)`. Numbers among the loss's metrics become streamable means.
        Optimizers that need the value of the loss, such as `optax.contrib.reduce_on_plateau`, are given it.

    Raises:
        ValueError: if `accumulate` or `skip_nonfinite` are out of range, or a batch cannot be cut into equal parts.

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
    if accumulate < 1 or skip_nonfinite < 0:
        raise ValueError(
            f"make_step: need accumulate >= 1 and skip_nonfinite >= 0, got {accumulate=}, {skip_nonfinite=}"
        )
    gradient = accumulated_gradient(loss, accumulate) if accumulate > 1 else loss_gradient(loss)

    update = optax.with_extra_args_support(optimizer).update

    def checked(train_state: TrainState, batch: Any) -> tuple[TrainState, PyTree, PyTree]:
        key = subkey(subkey(train_state.key, "step"), train_state.step)
        if axis_name is not None:
            key = subkey(key, jax.lax.axis_index(axis_name))
        value, gradients, state, metrics = gradient(train_state.params, train_state.state, batch, key=key)
        if axis_name is not None:
            value, gradients, state = _average((value, gradients, state), axis_name)
            metrics = metric.all_reduce(metrics, axis_name)
        updates, opt_state = update(gradients, train_state.opt_state, train_state.params, value=value)
        params = optax.apply_updates(train_state.params, updates)
        counters = train_state.counters + jnp.array([1, 0, 0], jnp.uint32)
        after = TrainState(params, state, opt_state, counters)
        finite = finite_numbers(value, gradients, updates)
        if skip_nonfinite:
            after, metrics = skip_bad_step(train_state, after, finite, metrics, limit=skip_nonfinite)
            skipped = after.skipped > train_state.skipped
            finite = jax.tree.map(lambda flag: flag | skipped, finite)
        return after, metrics, finite

    return CheckedStep(checked)


def _average(tree: PyTree, axis_name: str) -> PyTree:
    """Average over devices what has fractions; counts are the same on all of them."""

    def average(leaf: Array) -> Array:
        return jax.lax.pmean(leaf, axis_name) if jnp.issubdtype(leaf.dtype, jnp.inexact) else leaf

    return jax.tree.map(average, tree)
