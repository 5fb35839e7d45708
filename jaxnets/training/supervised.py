"""The usual loss: a model, a loss for each example, and metrics, as one function of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxnets import losses, metrics as metric
from jaxnets.label_check import all_labels_count
from jaxnets.model import Model
from jaxnets.training.gradient import Loss
from jaxnets.tree import describe
from jaxnets.types import Array, Key, Params, PyTree, State


def supervised(
    model: Model,
    loss: Callable[[Any, Any], Array],
    metrics: Mapping[str, Callable[..., Any]] | None = None,
) -> Loss:
    """Build the usual loss of a model: the mean over a batch, $(sum_i w_i loss_i) / (sum_i w_i)$.

    A batch is the pair `(inputs, targets)`, or `(inputs, targets, weights)`. Weights are of the shape of the losses or
    of their first axes: `[batch]` weighs examples, `[batch, time]` tokens; 0 and 1, or booleans, mask padding. With
    weights the result is that of the whole batch also where a batch is accumulated in parts or lies on several
    devices, whatever each part weighs. Targets of weight 0 are not looked at. Without any weight in a batch the loss
    and its gradient are 0.

    Args:
        model: the network.
        loss: `loss(outputs, targets)` gives one number an example, `[batch, ...]`, as those of `jaxnets.losses`.
        metrics: by name, functions of (outputs, targets) that return a streamable metric, as `jaxnets.metrics` has.
            Where a batch has weights, they are passed on as `weights=`.

    Returns:
        A loss for `make_step` and `make_evaluate`; its metrics are `"loss"` and those given. Its value is a scalar, or
        with weights a `jaxnets.metrics.Mean`.

    Raises:
        TypeError: if `model` is not a model, `loss` not a function, or `metrics` not functions by name; by the returned
            loss, if a batch is not a pair or a triple.
        ValueError: if a metric is named `"loss"`; by the returned loss, if `loss` gives a single number, or weights do
            not fit its numbers.

    Example:
        >>> from jaxnets import losses, make_model, nn
        >>> def apply(params, state, x, *, key=None, train):
        ...     return nn.linear(params, x), state
        >>> model = make_model(nn.linear_spec(2, 3), apply)
        >>> loss = supervised(model, losses.cross_entropy, {"accuracy": metric.accuracy})
        >>> params, state = model.init(jax.random.key(0))
        >>> inputs, labels, weights = jnp.zeros((4, 2)), jnp.array([0, 1, 2, -1]), jnp.array([1, 1, 1, 0])
        >>> value, (state, metrics) = loss(params, state, (inputs, labels, weights), key=None, train=True)
        >>> metric.compute({"value": value} | metrics)["value"]  # log(3)
        Array(1.0986123, dtype=float32)

    Warning:
        PyTorch's `CrossEntropyLoss(ignore_index=-100)` is `weights = labels != -100`.
    """
    named = _check_arguments(model, loss, metrics)
    home = str(getattr(getattr(loss, "func", loss), "__module__", None))
    is_plain = home.startswith(f"{losses.__name__}.")  # no mask of one's own

    def supervised_loss(
        params: Params, state: State, batch: Any, *, key: Key | None, train: bool
    ) -> tuple[Array | metric.Mean, tuple[State, PyTree]]:
        inputs, targets, weights = _parts(batch)
        if weights is not None:
            targets = _blank(targets, weights)
        outputs, new_state = model.apply(params, state, inputs, key=key, train=train)
        with all_labels_count(is_plain):
            values = loss(outputs, targets)
        _check_values(values, weights)
        mean = metric.mean(values, weights=weights)
        given = {} if weights is None else {"weights": weights}
        measured = {"loss": mean} | {name: function(outputs, targets, **given) for name, function in named.items()}
        return jnp.mean(values) if weights is None else mean, (new_state, measured)

    supervised_loss.compute_dtype = getattr(model.apply, "compute_dtype", None)  # type: ignore[attr-defined]
    return supervised_loss


def _check_arguments(model: Any, loss: Any, metrics: Any) -> dict[str, Callable[..., Any]]:
    """Return the metrics by name, or raise TypeError or ValueError."""
    if not isinstance(model, Model):
        advice = "; write supervised(model, ...) instead of supervised(model.apply, ...)" if callable(model) else ""
        raise TypeError(f"supervised: model must be a Model, as make_model returns, got {describe(model)}{advice}")
    if not callable(loss):
        raise TypeError(
            f"supervised: loss must be a function (outputs, targets) such as losses.cross_entropy, got {describe(loss)}"
        )
    named = {} if metrics is None else dict(metrics) if isinstance(metrics, Mapping) else None
    if named is None or not all(map(callable, named.values())):
        raise TypeError(
            'supervised: metrics must be functions by name, such as {"accuracy": metrics.accuracy}, '
            f"got {describe(metrics)}"
        )
    if "loss" in named:
        raise ValueError("supervised: 'loss' is the name of the loss itself; give the metric another name")
    return named


def _parts(batch: Any) -> tuple[Any, Any, Any]:
    """The inputs, targets and weights of a batch, None if it has no weights."""
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        advice = "(batch['inputs'], batch['targets'])" if isinstance(batch, dict) else "(inputs, targets)"
        raise TypeError(
            "supervised: a batch is the pair (inputs, targets) or the triple (inputs, targets, weights), got "
            f"{describe(batch)}; make data of the form {advice}, or write a loss of your own"
        )
    inputs, targets, *rest = batch
    return inputs, targets, rest[0] if rest else None


def _blank(targets: PyTree, weights: Any) -> PyTree:
    """Targets with 0 where they weigh nothing, since NaN times 0 would be NaN."""
    absent = jnp.asarray(weights) == jnp.zeros((), jnp.result_type(weights))

    def blank(leaf: Any) -> Any:
        array = jnp.asarray(leaf)
        if array.shape[: absent.ndim] != absent.shape:
            return leaf
        spread = absent.reshape((*absent.shape, *(1,) * (array.ndim - absent.ndim)))
        return jnp.where(jnp.broadcast_to(spread, array.shape), jnp.zeros_like(array), array)

    return jax.tree.map(blank, targets)


def _check_values(values: Any, weights: Any) -> None:
    if not hasattr(values, "shape"):
        raise TypeError(f"supervised: loss(outputs, targets) must return an array [batch, ...], got {describe(values)}")
    if jnp.ndim(values) == 0:
        raise ValueError(
            "supervised: loss(outputs, targets) must give one number an example, [batch], got a single one; leave "
            "out its mean, so that the examples of an incomplete last batch count as much as all others"
        )
    shape = () if weights is None else jnp.shape(weights)
    if weights is not None and (not shape or shape != values.shape[: len(shape)]):
        raise ValueError(
            f"supervised: weights must have the shape of the losses {list(values.shape)} or of their first axes, such "
            f"as {[values.shape[0]]}, got {list(shape)}"
        )
