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
from jaxnets.train.state import TrainState
from jaxnets.types import Array, Key, Params, PyTree, State

Loss: TypeAlias = Callable[..., tuple[Array, tuple[State, PyTree]]]
"""`loss(params, state, batch, *, key, train) -> (scalar, (new_state, metrics))`, a pure function."""
Step: TypeAlias = Callable[[TrainState, Any], tuple[TrainState, PyTree]]
"""`step(train_state, batch) -> (train_state, metrics)`, a pure function."""


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
        inputs, targets = batch
        outputs, new_state = model.apply(params, state, inputs, key=key, train=train)
        values = loss(outputs, targets)
        measured = {"loss": metric.mean(values)}
        measured |= {name: function(outputs, targets) for name, function in metrics.items()}
        return jnp.mean(values), (new_state, measured)

    return loss_function


def make_step(loss: Loss, optimizer: optax.GradientTransformation) -> Step:
    """Make the training step of a loss and an optimizer: theta <- theta + update(gradient).

    The step is pure and traceable: pass it to `jax.jit`, `jax.lax.scan`, `jax.vmap` over stacked train states, or to
    the helpers of `jaxnets.train`. The randomness of a step depends on the run's key and the step's number alone.

    Args:
        loss: `loss(params, state, batch, *, key, train) -> (scalar, (new_state, metrics))`; see `supervised`.
        optimizer: an optax optimizer.

    Returns:
        `step(train_state, batch) -> (train_state, metrics)`. Numbers among the loss's metrics become streamable means.

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

    def step(train_state: TrainState, batch: Any) -> tuple[TrainState, PyTree]:
        key = subkey(subkey(train_state.key, "step"), train_state.step)
        gradient = jax.grad(loss, has_aux=True)
        gradients, (state, metrics) = gradient(train_state.params, train_state.state, batch, key=key, train=True)
        updates, opt_state = optimizer.update(gradients, train_state.opt_state, train_state.params)
        params = optax.apply_updates(train_state.params, updates)
        step_and_seed = train_state.step_and_seed + jnp.array([1, 0], jnp.uint32)
        return TrainState(params, state, opt_state, step_and_seed), as_metrics(metrics)

    return step


def as_metrics(tree: PyTree) -> PyTree:
    """Turn the plain arrays among a loss's metrics into means, so that all can be added up over batches.

    Example:
        >>> metric.compute(as_metrics({"norm": jnp.array(3.0)}))
        {'norm': Array(3., dtype=float32)}
    """

    def is_metric(node: Any) -> bool:
        return isinstance(node, metric.Metric)

    return jax.tree.map(lambda leaf: leaf if is_metric(leaf) else metric.mean(leaf), tree, is_leaf=is_metric)
