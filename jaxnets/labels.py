"""Checks of predictions and labels for losses and metrics; shapes that do not fit are errors, never broadcast."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from jaxnets.label_check import Allowed, check_integers, is_here, note_labels
from jaxnets.nn.check import compute_dtype
from jaxnets.types import Array, ArrayLike, DTypeLike


def floating(function: str, argument: str, x: ArrayLike) -> Array:
    """Return `x` in at least float32, or raise TypeError unless it is floating point."""
    array = jnp.asarray(x)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{function}: {argument} must be floating point, got {array.dtype}; write {argument}.astype(jnp.float32)"
        )
    return array.astype(compute_dtype(array))


def labels_array(function: str, argument: str, x: ArrayLike) -> Array:
    """Return `x` as an array of JAX, or raise ValueError if it holds integers beyond 32 bits, which would be cut."""
    check_integers(f"{function}: {argument}", x)
    return jnp.asarray(x)


def like(function: str, argument: str, x: ArrayLike, predictions: Array, predictions_are: str) -> Array:
    """Return `x` in the dtype of `predictions`, or raise ValueError unless the shapes are the same."""
    array = labels_array(function, argument, x)
    if array.shape != predictions.shape:
        advice = f"; write {argument}.reshape({predictions_are}.shape)" if array.size == predictions.size else ""
        raise ValueError(
            f"{function}: {predictions_are} and {argument} must have the same shape, "
            f"got {list(predictions.shape)} and {list(array.shape)}{advice}"
        )
    return real(function, argument, array, predictions.dtype)


def real(function: str, argument: str, array: Array, dtype: DTypeLike) -> Array:
    """Return `array` in `dtype`, or raise TypeError unless it holds real numbers or booleans."""
    if not jnp.isdtype(array.dtype, ("bool", "integral", "real floating")):
        raise TypeError(f"{function}: {argument} must hold real numbers, got {array.dtype}")
    return array.astype(dtype)


def class_logits(function: str, logits: ArrayLike) -> Array:
    """Return logits `[..., classes]` in at least float32, or raise unless there are two classes or more."""
    array = floating(function, "logits", logits)
    if array.ndim == 0 or array.shape[-1] < 2:
        raise ValueError(
            f"{function}: logits must be [..., classes] with two classes or more, got {list(array.shape)}; for one "
            "logit per example use the binary form of this function and logits of the labels' shape"
        )
    return array


def class_labels(function: str, labels: ArrayLike, logits: Array) -> Array:
    """Return labels for logits `[..., classes]`: integers `[...]`, or probabilities `[..., classes]` as they are.

    Raises:
        TypeError: unless they are integers with one axis less than the logits, or floating point with as many axes.
        ValueError: if the shapes do not fit, or a label does not fit 32 bits.
    """
    array = labels_array(function, "labels", labels)
    is_integer = jnp.issubdtype(array.dtype, jnp.integer)
    if array.shape == logits.shape and not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{function}: labels of the logits' shape {list(logits.shape)} are probabilities and must be floating "
            f"point, got {array.dtype}; write labels.astype(jnp.float32) if they are one-hot"
        )
    if array.shape == logits.shape[:-1] and not is_integer:
        raise TypeError(
            f"{function}: labels of shape {list(array.shape)} are numbers of classes and must be integers, "
            f"got {array.dtype}; write labels.astype(jnp.int32)"
        )
    if array.shape not in (logits.shape, logits.shape[:-1]):
        advice = "; write labels.squeeze(-1)" if array.shape == (*logits.shape[:-1], 1) else ""
        raise ValueError(
            f"{function}: for logits {list(logits.shape)}, labels must be integers {list(logits.shape[:-1])} or "
            f"probabilities {list(logits.shape)}, got {array.dtype} {list(array.shape)}{advice}"
        )
    return as_int32(array) if is_integer else array.astype(logits.dtype)


def as_int32(labels: Array) -> Array:
    """Return integers as int32; those beyond it become its ends, so that none becomes a class.

    Example:
        >>> as_int32(jnp.array([1, 2**32 - 1], jnp.uint32))
        Array([         1, 2147483647], dtype=int32)
    """
    if jnp.can_cast(labels.dtype, jnp.int32):
        return labels.astype(jnp.int32)
    limits = np.iinfo(np.int32)
    least = 0 if jnp.issubdtype(labels.dtype, jnp.unsignedinteger) else limits.min
    return jnp.clip(labels, least, limits.max).astype(jnp.int32)


def same_integers(first: Array, second: Array) -> Array:
    """Say where two integers are the same number, whatever their dtypes, which JAX's comparison may cut.

    Example:
        >>> same_integers(jnp.array([-1, 1]), jnp.array([2**32 - 1, 1], jnp.uint32))
        Array([False,  True], dtype=bool)
    """
    unsigned = f"uint{8 * max(first.dtype.itemsize, second.dtype.itemsize)}"
    same_bits = first.astype(unsigned) == second.astype(unsigned)
    return same_bits & ((first < 0) == (second < 0))


def class_indices(function: str, labels: ArrayLike, logits: Array) -> Array:
    """Return the labels' classes as int32 `[...]`; of probabilities the largest, or -1 if they are none."""
    array = class_labels(function, labels, logits)
    if array.ndim != logits.ndim:
        return array
    return jnp.where(are_probabilities(array), jnp.argmax(array, axis=-1).astype(jnp.int32), -1)


def are_probabilities(labels: Array) -> Array:
    """Say for `[..., classes]` which examples `[...]` have none that is negative, and sum to 1 within 1/100.

    Example:
        >>> are_probabilities(jnp.array([[0.3, 0.7], [0.3, 0.3], [-1.0, 2.0], [jnp.nan, 1.0]]))
        Array([ True, False, False, False], dtype=bool)
    """
    return jnp.all(labels >= 0, axis=-1) & (jnp.abs(jnp.sum(labels, axis=-1) - 1) < 0.01)


def check_labels(function: str, labels: ArrayLike, classes: int) -> None:
    """Raise ValueError if labels are the classes 1 to `classes`; those that are traced are noted for `check_labels_of`.

    Example:
        >>> check_labels("cross_entropy", np.array([3, 1, 2]), 3)
        Traceback (most recent call last):
        ...
        ValueError: cross_entropy: labels count classes from 0 to 2, got 1 to 3; write labels - 1
    """
    if not jnp.issubdtype(jnp.result_type(labels), jnp.integer):
        return
    if not is_here(labels):
        note_labels(labels, Allowed(function, 0, classes - 1, "class"))
    if not is_here(labels) or not np.size(labels):
        return
    least, largest = int(np.min(np.asarray(labels))), int(np.max(np.asarray(labels)))
    if least >= 1 and largest == classes:
        raise ValueError(
            f"{function}: labels count classes from 0 to {classes - 1}, got {least} to {largest}; write labels - 1"
        )


def absolute(x: Array) -> Array:
    """|x| with gradient sign(x), 0 at 0 as in PyTorch; that of `jnp.abs` at 0 is 1."""
    return x * jnp.sign(x)


def largest_size(x: Array, axis: int | tuple[int, ...] = -1) -> Array:
    """The largest |x| along axes, which stay, or 1 where all are 0: what is divided by it has squares that hold.

    Example:
        >>> largest_size(jnp.array([[3e30, -4e30], [0.0, 0.0]]))
        Array([[4.e+30],
               [1.e+00]], dtype=float32)
    """
    largest = jnp.max(jnp.abs(x), axis=axis, keepdims=True, initial=0)
    return jnp.where(largest == 0, 1, largest)


def have_nan(logits: Array) -> Array:
    """Say for `[..., classes]` which examples `[...]` have a logit that is NaN, so that no class is predicted."""
    return jnp.any(jnp.isnan(logits), axis=-1)


def mark_invalid(values: Array, valid: Array) -> Array:
    """Return `values` with NaN where a label is invalid, so the mistake is visible under jit too."""
    return jnp.where(valid, values, jnp.asarray(jnp.nan, values.dtype))
