"""Losses of networks that predict real numbers."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import optax

from jaxnets.labels import absolute, floating, like
from jaxnets.types import Array, ArrayLike


def squared_error(predictions: ArrayLike, targets: ArrayLike) -> Array:
    """Squared error of each entry, whose mean is the MSE: $(prediction - target)^2$.

    Args:
        predictions: `[...]`, floating point.
        targets: `[...]`, real numbers.

    Returns:
        `[...]`, one number an entry.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if the predictions are not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> squared_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]))
        Array([0., 9.], dtype=float32)

    Warning:
        `optax.l2_loss`, and the lectures' worked backpropagation, have a factor 1/2; this and PyTorch's `mse_loss`
        have none.
    """
    predictions = floating("squared_error", "predictions", predictions)
    targets = like("squared_error", "targets", targets, predictions, "predictions")
    errors: Array = optax.squared_error(predictions, targets)
    return errors


def absolute_error(predictions: ArrayLike, targets: ArrayLike) -> Array:
    """Absolute error of each entry, whose mean is the MAE: |prediction - target|.

    Args:
        predictions: `[...]`, floating point.
        targets: `[...]`, real numbers.

    Returns:
        `[...]`, one number an entry. Its gradient is 0 where the error is 0.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if the predictions are not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> absolute_error(jnp.array([1.0, 2.0]), jnp.array([1.0, 5.0]))
        Array([0., 3.], dtype=float32)
    """
    predictions = floating("absolute_error", "predictions", predictions)
    return absolute(predictions - like("absolute_error", "targets", targets, predictions, "predictions"))


def huber(predictions: ArrayLike, targets: ArrayLike, *, delta: float | Array = 1.0) -> Array:
    """Huber loss of each entry, quadratic near 0 and linear beyond delta.

    $e^2 / 2$ where $|e| <= delta$, else $delta (|e| - delta / 2)$, with the error $e = prediction - target$.

    Args:
        predictions: `[...]`, floating point.
        targets: `[...]`, real numbers.
        delta: where the loss becomes linear, positive; not checked if it is traced.

    Returns:
        `[...]`, one number an entry.

    Raises:
        ValueError: if the shapes differ or `delta` is not positive and finite.
        TypeError: if the predictions are not floating point.

    Example:
        >>> import jax.numpy as jnp
        >>> huber(jnp.array([0.5, 3.0]), jnp.array([0.0, 0.0]))
        Array([0.125, 2.5  ], dtype=float32)

    Reference:
        Huber, Robust estimation of a location parameter, 1964.

    Warning:
        PyTorch's `smooth_l1_loss(beta=delta)` is this divided by delta; its `huber_loss` is the same.
    """
    if not isinstance(delta, jax.core.Tracer) and not 0 < delta < math.inf:
        advice = "; the limit is squared_error(predictions, targets) / 2" if delta == math.inf else ""
        raise ValueError(f"huber: delta must be positive, got {delta}{advice}")
    predictions = floating("huber", "predictions", predictions)
    targets = like("huber", "targets", targets, predictions, "predictions")
    losses: Array = optax.huber_loss(predictions, targets, delta=jnp.asarray(delta, predictions.dtype))
    return losses
