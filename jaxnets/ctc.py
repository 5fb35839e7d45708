"""Connectionist temporal classification: labels for a sequence of frames without knowing which frame has which.

A network gives logits for each frame, over the labels and a blank. An alignment is a label or blank for every frame; it
stands for the labels that are left when repetitions are joined and blanks taken out: `aa-ab-` is `aab`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from jaxnets.integers import as_integer
from jaxnets.labels import as_int32, class_logits, labels_array, mark_invalid
from jaxnets.metrics.metric import detached
from jaxnets.nn.attention_mask import sequence_mask
from jaxnets.types import Array, ArrayLike

__all__ = ["ctc_greedy", "ctc_loss"]

_LOG_ZERO = -1e30
"""Stands for the logarithm of 0: optax multiplies logarithms by 0, and 0 times -inf is NaN."""


def ctc_loss(
    logits: ArrayLike, labels: ArrayLike, *, logit_lengths: ArrayLike, label_lengths: ArrayLike, blank: int = 0
) -> Array:
    """Negative log-likelihood of labels: -log of the sum of the probabilities of all alignments that stand for them.

    Args:
        logits: `[batch, frames, classes]`, floating point, the blank among the classes.
        labels: integers `[batch, length]`, without blanks; after `label_lengths` anything.
        logit_lengths: integers `[batch]`: how many frames are real; the others may hold anything.
        label_lengths: integers `[batch]`: how many labels are real.
        blank: the class of the blank.

    Returns:
        `[batch]`, infinite where there are fewer frames than the labels need, one for each and a blank between equal
        ones, or where each alignment has a class whose logit is -inf; NaN where a label is the blank or out of range, a
        length is negative or beyond its axis, or a logit is NaN.

    Raises:
        ValueError: if the shapes do not fit, or `blank` is out of range.
        TypeError: if the logits are not floating point, or labels or lengths not integers.

    Example:
        >>> logits = jnp.zeros((1, 3, 2))  # each of the 8 alignments of three frames has probability 1/8
        >>> ones = jnp.array([[1]])  # 6 of them: 1--, -1-, --1, 11-, -11, 111
        >>> print(jnp.exp(-ctc_loss(logits, ones, logit_lengths=jnp.array([3]), label_lengths=jnp.array([1]))))
        [0.75]

    Reference:
        Graves et al., Connectionist temporal classification: labelling unsegmented sequence data with recurrent neural
        networks, 2006. The computation is `optax.ctc_loss`.

    Warning:
        PyTorch's `CTCLoss` takes log-probabilities `[frames, batch, classes]`, and its mean divides each loss by the
        number of labels first. optax takes masks that are 1 for padding, and gives a large number instead of infinity.
        Its loop runs in `jax.shard_map` only with `check_vma=False`.
    """
    values = class_logits("ctc_loss", logits)
    targets, frames = _integers("labels", labels, 2), _integers("logit_lengths", logit_lengths, 1)
    lengths = _integers("label_lengths", label_lengths, 1)
    _check_shapes(values, frames, blank)
    if not len(values) == len(targets) == len(lengths):
        raise ValueError(
            f"ctc_loss: logits [batch, frames, classes] need labels [batch, length] and label_lengths [batch], got "
            f"{list(values.shape)}, {list(targets.shape)} and {list(lengths.shape)}"
        )
    most_frames = values.shape[1]
    if not most_frames:  # which optax cannot take; a frame that does not count changes nothing
        values = jnp.zeros((len(values), 1, values.shape[2]), values.dtype)
    is_frame, is_label = sequence_mask(frames, values.shape[1]), sequence_mask(lengths, targets.shape[1])
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # optax relies on both
        losses: Array = optax.ctc_loss(
            jnp.where(is_frame[..., None], jnp.maximum(values, _LOG_ZERO), jnp.zeros_like(values)),
            (~is_frame).astype(values.dtype),
            jnp.where(is_label, targets, blank),
            (~is_label).astype(values.dtype),
            blank_id=blank,
            log_epsilon=_LOG_ZERO,
        )
    repeated = (targets[:, 1:] == targets[:, :-1]) & is_label[:, 1:]
    enough = frames >= lengths + jnp.sum(repeated, axis=1, dtype=jnp.int32)
    wrong = is_label & ((targets == blank) | (targets < 0) | (targets >= values.shape[-1]))
    valid = ~jnp.any(wrong, axis=1)
    for count, most in ((lengths, targets.shape[1]), (frames, most_frames)):
        valid &= (count >= 0) & (count <= most)
    impossible = ~enough | (losses >= -_LOG_ZERO / 2)  # NaN stays
    # optax computes in float64 wherever it is enabled
    losses = jnp.where(impossible, jnp.inf, losses).astype(values.dtype)
    return mark_invalid(losses, valid)


def ctc_greedy(logits: ArrayLike, *, logit_lengths: ArrayLike, blank: int = 0) -> tuple[Array, Array]:
    """Labels of the likeliest alignment: the likeliest class of every frame, repetitions joined, blanks taken out.

    They are not always the likeliest labels, to which many alignments may belong.

    Args:
        logits: `[batch, frames, classes]`, floating point.
        logit_lengths: integers `[batch]`: how many frames are real.
        blank: the class of the blank.

    Returns:
        The labels, int32 `[batch, frames]`, filled up with blanks, and how many there are, int32 `[batch]`.

    Raises:
        ValueError: if the shapes do not fit, or `blank` is out of range.
        TypeError: if the logits are not floating point, or the lengths not integers.

    Example:
        >>> frames = jnp.array([[1, 1, 0, 1, 2, 2]])
        >>> labels, lengths = ctc_greedy(jax.nn.one_hot(frames, 3), logit_lengths=jnp.array([6]))
        >>> labels, lengths
        (Array([[1, 1, 2, 0, 0, 0]], dtype=int32), Array([3], dtype=int32))

    Reference:
        Graves et al., 2006, section 3.2 (best path decoding).
    """
    values, frames = detached(class_logits("ctc_greedy", logits)), _integers("logit_lengths", logit_lengths, 1)
    _check_shapes(values, frames, blank)
    best = jnp.argmax(values, axis=-1).astype(jnp.int32)
    before = jnp.pad(best[:, :-1], ((0, 0), (1, 0)), constant_values=blank)
    kept = (best != blank) & (best != before) & sequence_mask(frames, best.shape[1])
    order = jnp.argsort(~kept, axis=1, stable=True)  # those that are kept come first, in their order
    labels = jnp.take_along_axis(jnp.where(kept, best, blank), order, axis=1)
    return labels, jnp.sum(kept, axis=1, dtype=jnp.int32)


def _integers(name: str, x: ArrayLike, axes: int) -> Array:
    array = labels_array("ctc", name, x)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"ctc: {name} must be integers, got {array.dtype}")
    if array.ndim != axes:
        raise ValueError(
            f"ctc: {name} must be {'[batch, length]' if axes == 2 else '[batch]'}, got {list(array.shape)}"
        )
    return as_int32(array)


def _check_shapes(logits: Array, lengths: Array, blank: int) -> None:
    if logits.ndim != 3 or lengths.shape != logits.shape[:1]:
        raise ValueError(
            "ctc: logits must be [batch, frames, classes] and logit_lengths [batch], got "
            f"{list(logits.shape)} and {list(lengths.shape)}"
        )
    if as_integer("ctc", "blank", blank, at_least=0) >= logits.shape[-1]:
        raise ValueError(f"ctc: blank must be a class from 0 to {logits.shape[-1] - 1}, got {blank}")
