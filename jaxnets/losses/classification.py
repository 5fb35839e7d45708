"""Losses of classifiers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jaxnets.label_check import Allowed, note_labels
from jaxnets.labels import (
    are_probabilities,
    check_labels,
    class_labels,
    class_logits,
    floating,
    labels_array,
    like,
    mark_invalid,
)
from jaxnets.metrics.means import Mean, mean
from jaxnets.types import Array, ArrayLike


def binary_cross_entropy(logits: ArrayLike, labels: ArrayLike) -> Array:
    """Cross-entropy of yes-or-no answers, from logits: $-y log p - (1 - y) log(1 - p)$ with $p = sigmoid(logit)$.

    Args:
        logits: `[...]`, floating point: what comes before the sigmoid.
        labels: `[...]`, 0 or 1 (or False and True), or probabilities in between. Others give NaN.

    Returns:
        `[...]`, one number an entry; 0 for a logit of inf with label 1 and of -inf with label 0.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if the logits are not floating point.

    Example:
        >>> binary_cross_entropy(jnp.array([0.0, 100.0, -100.0]), jnp.array([1, 1, 1]))
        Array([  0.6931472,   0.       , 100.       ], dtype=float32)

    Warning:
        This is PyTorch's `binary_cross_entropy_with_logits`. Its `binary_cross_entropy` takes probabilities and cuts
        the logarithm off at -100. A network trained with this loss ends without a sigmoid.
    """
    logits = floating("binary_cross_entropy", "logits", logits)
    note_labels(labels, Allowed("binary_cross_entropy", 0, 1, "share"))
    labels = like("binary_cross_entropy", "labels", labels, logits, "logits")
    # optax multiplies these logits by 0, which is NaN.
    certain = (jnp.isposinf(logits) & (labels == 1)) | (jnp.isneginf(logits) & (labels == 0))
    losses = jnp.where(certain, 0, optax.sigmoid_binary_cross_entropy(jnp.where(certain, 0, logits), labels))
    return mark_invalid(losses, (labels >= 0) & (labels <= 1))


def cross_entropy(logits: ArrayLike, labels: ArrayLike, *, label_smoothing: float | Array = 0.0) -> Array:
    """Cross-entropy of the softmax over classes, from logits: $-sum_k y_k log p_k$ with $p = softmax(logits)$.

    With label smoothing alpha, y becomes (1 - alpha) y + alpha / classes.

    Args:
        logits: `[..., classes]`, floating point: what comes before the softmax. `[batch, time, classes]` works.
        labels: integers `[...]` from 0 to classes - 1, or floating-point probabilities `[..., classes]`, such as
            one-hot vectors. Integers out of range, and what is negative or does not sum to 1 within 1/100, give NaN;
            mask padding by `jnp.where(mask, losses, 0)` or by weights (see `jaxnets.metrics.mean`).
        label_smoothing: alpha in [0, 1]; it may be traced, as in a search by `jax.vmap`, and then is not checked.

    Returns:
        `[...]`, one number an example.

    Raises:
        ValueError: if the shapes do not fit, there is one class only, `label_smoothing` is not in [0, 1], or labels
            that are not traced count from 1.
        TypeError: if logits or probabilities are not floating point, or numbers of classes not integers.

    Example:
        >>> cross_entropy(jnp.array([[0.0, 0.0], [100.0, 0.0]]), jnp.array([1, 1]))
        Array([  0.6931472, 100.       ], dtype=float32)
        >>> cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([[0.5, 0.5]]))
        Array([0.6931472], dtype=float32)

    Reference:
        Szegedy et al., Rethinking the inception architecture for computer vision, 2016 (label smoothing).

    Warning:
        PyTorch has the classes on axis 1, leaves out the label -100 (`ignore_index`), and takes the mean of the rest.
    """
    traced = isinstance(label_smoothing, jax.core.Tracer)
    if not traced and not 0 <= label_smoothing <= 1:
        raise ValueError(f"cross_entropy: label_smoothing must be in [0, 1], got {label_smoothing}")
    logits = class_logits("cross_entropy", logits)
    check_labels("cross_entropy", labels, logits.shape[-1])
    labels = class_labels("cross_entropy", labels, logits)
    if labels.ndim == logits.ndim:
        return mark_invalid(_soft_cross_entropy(logits, labels, label_smoothing), are_probabilities(labels))
    classes = logits.shape[-1]
    if traced or label_smoothing:
        losses = _soft_cross_entropy(logits, jax.nn.one_hot(labels, classes, dtype=logits.dtype), label_smoothing)
    else:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return mark_invalid(losses, (labels >= 0) & (labels < classes))


def sequence_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, mask: ArrayLike, *, label_smoothing: float | Array = 0.0
) -> Mean:
    """Mean cross-entropy of the tokens of padded sequences: the sum over real tokens divided by their number.

    Every token counts equally, so long sequences count more, and also where a batch is accumulated in parts.

    Args:
        logits: `[batch, time, classes]`, floating point.
        labels: integers `[batch, time]`, the token that is to follow at each position. Padding may be any number.
        mask: booleans or weights `[batch, time]`, True for real tokens, as `jaxnets.nn.sequence_mask` gives. Logits
            elsewhere, even NaN, have no part in the value and its gradient.
        label_smoothing: in [0, 1]; see `cross_entropy`.

    Returns:
        A streamable `Mean` with gradients, which a loss may return as its value and among its metrics;
        `jaxnets.metrics.Perplexity(mean)` is the perplexity.

    Raises:
        ValueError: if the shapes do not fit.
        TypeError: if the logits are not floating point or the labels not integers.

    Example:
        >>> logits = jnp.zeros((1, 3, 2)).at[0, 2].set(jnp.array([100.0, 0.0]))
        >>> mask = jnp.array([[True, True, False]])
        >>> sequence_cross_entropy(logits, jnp.array([[0, 1, 9]]), mask).compute()  # log(2)
        Array(0.6931472, dtype=float32)

    Warning:
        PyTorch's `CrossEntropyLoss(ignore_index=pad)` is this; a mean over sequences of means over tokens is not.
    """
    logits, mask = class_logits("sequence_cross_entropy", logits), jnp.asarray(mask)
    labels = labels_array("sequence_cross_entropy", "labels", labels)
    if not logits.shape[:-1] == labels.shape == mask.shape:
        raise ValueError(
            "sequence_cross_entropy: logits [batch, time, classes] need labels and mask [batch, time], got "
            f"{list(logits.shape)}, {list(labels.shape)} and {list(mask.shape)}"
        )
    real = mask.astype(bool)
    real_labels = jnp.where(real, labels, jnp.zeros_like(labels))
    logits = jnp.where(real[..., None], logits, jnp.zeros_like(logits))  # else NaN there would be one in the gradient
    return mean(cross_entropy(logits, real_labels, label_smoothing=label_smoothing), weights=mask)


def _soft_cross_entropy(logits: Array, probabilities: Array, label_smoothing: float | Array) -> Array:
    """0 log 0 = 0, so that classes excluded by a logit of -inf are allowed where they have no probability.

    optax multiplies that logit by 0 in forward mode, which is NaN, so it gets a finite one.
    """
    smooth = optax.smooth_labels(probabilities, label_smoothing)
    excluded = (smooth == 0) & jnp.isneginf(logits)
    finite = jnp.where(excluded, -1e30, logits)
    losses: Array = optax.safe_softmax_cross_entropy(finite, smooth)
    return losses


def hinge(predictions: ArrayLike, labels: ArrayLike) -> Array:
    """Hinge loss of each entry: $max(0, 1 - y f)$, with labels y of -1 or 1.

    Args:
        predictions: `[...]`, floating point: f, without a sigmoid.
        labels: `[...]`, -1 or 1. Others give NaN; of labels 0 and 1 make `2 * labels - 1`.

    Returns:
        `[...]`, one number an entry.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if the predictions are not floating point.

    Example:
        >>> hinge(jnp.array([0.5, 0.5, 2.0]), jnp.array([1, -1, 1]))
        Array([0.5, 1.5, 0. ], dtype=float32)

    Reference:
        Cortes and Vapnik, Support-vector networks, 1995.
    """
    predictions, labels = _signed("hinge", predictions, labels)
    return mark_invalid(optax.hinge_loss(predictions, labels), jnp.abs(labels) == 1)


def exponential(predictions: ArrayLike, labels: ArrayLike) -> Array:
    """Exponential loss of each entry, which AdaBoost minimizes: $exp(-y f)$, with labels y of -1 or 1.

    The prediction that minimizes its expectation is half the log-odds, log(p / (1 - p)) / 2.

    Args:
        predictions: `[...]`, floating point: f, without a sigmoid.
        labels: `[...]`, -1 or 1. Others give NaN; of labels 0 and 1 make `2 * labels - 1`.

    Returns:
        `[...]`, one number an entry. It grows without bound: a single wrong label can dominate a batch.

    Raises:
        ValueError: if the shapes differ.
        TypeError: if the predictions are not floating point.

    Example:
        >>> exponential(jnp.array([0.0, jnp.log(2.0)]), jnp.array([1, -1]))
        Array([1., 2.], dtype=float32)

    Reference:
        Freund and Schapire, A decision-theoretic generalization of on-line learning, 1997; Friedman, Hastie and
        Tibshirani, Additive logistic regression, 2000 (AdaBoost as its minimization).
    """
    predictions, labels = _signed("exponential", predictions, labels)
    return mark_invalid(jnp.exp(-labels * predictions), jnp.abs(labels) == 1)


def _signed(function: str, predictions: ArrayLike, labels: ArrayLike) -> tuple[Array, Array]:
    predictions = floating(function, "predictions", predictions)
    note_labels(labels, Allowed(function, -1, 1, "sign"))
    return predictions, like(function, "labels", labels, predictions, "predictions")


def kl_divergence(logits: ArrayLike, targets: ArrayLike) -> Array:
    """Kullback-Leibler divergence of the predicted distribution from the target's: $sum_k p_k (log p_k - log q_k)$.

    $q = softmax(logits)$ is predicted, p the target, and $0 log 0 = 0$, with gradient 0 for a p of 0. Normalized
    log-probabilities may be passed as logits, since log_softmax leaves them as they are.

    Args:
        logits: `[..., classes]`, floating point.
        targets: `[..., classes]`, probabilities. What is negative or does not sum to 1 within 1/100 gives NaN.

    Returns:
        `[...]`, one number an example, 0 where the distributions are equal.

    Raises:
        ValueError: if the shapes differ or there is one class only.
        TypeError: if the logits or targets are not floating point.

    Example:
        >>> print(f"{kl_divergence(jnp.log(jnp.array([0.25, 0.75])), jnp.array([0.5, 0.5])):.4f}")
        0.1438

    Reference:
        Kullback and Leibler, On information and sufficiency, 1951.

    Warning:
        PyTorch's `kl_div` takes log-probabilities and, by default, divides the sum by batch times classes instead of
        by batch (`reduction="batchmean"`).
    """
    logits = class_logits("kl_divergence", logits)
    targets = like("kl_divergence", "targets", floating("kl_divergence", "targets", targets), logits, "logits")
    log_predictions = jax.nn.log_softmax(logits)
    # Where p = 0, optax multiplies log q by p, which is NaN if q = 0, and the gradient by p is that of log p.
    zero = targets == 0
    divergences: Array = optax.kl_divergence(jnp.where(zero, 0, log_predictions), jnp.where(zero, 1, targets))
    return mark_invalid(divergences, are_probabilities(targets))
