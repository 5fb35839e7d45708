"""How often a search finds what belongs to the query."""

from __future__ import annotations

import jax.numpy as jnp

from jaxnets.integers import as_integer
from jaxnets.labels import floating, have_nan, labels_array, mark_invalid, same_integers
from jaxnets.metrics.means import Mean, mean
from jaxnets.metrics.metric import detached
from jaxnets.types import Array, ArrayLike


def recall_at_k(
    scores: ArrayLike,
    query_labels: ArrayLike | None = None,
    candidate_labels: ArrayLike | None = None,
    *,
    k: int,
    weights: ArrayLike | None = None,
) -> Mean:
    """Recall at k: the share of queries with a right candidate among the k of the highest scores.

    The other way, from candidates to queries, is `recall_at_k(scores.T, candidate_labels, query_labels, k=k)`.

    Equal scores are taken to be in random order, and the probability of a hit counts: where b candidates have a higher
    score than the best right one, t the same score, and r of these are right, it is 1 - C(t - r, k - b) / C(t, k - b).
    So embeddings that are all equal have the recall of guessing, whatever the order of the candidates.

    Args:
        scores: `[queries, candidates]`, floating point, such as `texts @ images.T`. A candidate of -inf is left out,
            such as the query itself.
        query_labels: integers `[queries]`. A candidate is right if its label is that of the query. By default query i
            belongs to candidate i alone.
        candidate_labels: integers `[candidates]`. Both labels are given, or neither.
        k: at least 1.
        weights: `[queries]`, by default all 1.

    Returns:
        A streamable `Mean` over the queries; a query without right candidates is a miss. NaN if a score is.

    Raises:
        ValueError: if the shapes or `k` do not fit, or one of the labels is missing.
        TypeError: if the scores are not floating point or the labels not integers.

    Example:
        >>> scores = jnp.array([[0.9, 0.1, 0.3], [0.8, 0.5, 0.2], [0.7, 0.7, 0.7]])
        >>> print(f"{recall_at_k(scores, k=1).compute():.4f}")  # a hit, a miss, and one of three that are equal
        0.4444
        >>> images = jnp.array([0, 0, 1])  # the first two captions describe image 0
        >>> print(f"{recall_at_k(scores[:2], jnp.array([0, 1]), images, k=1).compute():.4f}")
        0.5000

    Reference:
        Jégou, Douze and Schmid, Product quantization for nearest neighbor search, 2011; Hodosh, Young and Hockenmaier,
        Framing image description as a ranking task, 2013 (images and captions, both ways).

    Warning:
        Most programs sort, so that the position of a candidate decides between equal scores. In search engines, recall
        at k is the share of the right candidates that are found. Within batches there are fewer candidates than in the
        whole set, and recall is higher.
    """
    values = detached(floating("recall_at_k", "scores", scores))
    if values.ndim != 2:
        raise ValueError(f"recall_at_k: scores must be [queries, candidates], got {list(values.shape)}")
    k = as_integer("recall_at_k", "k", k, at_least=1)
    right = _right(values.shape, query_labels, candidate_labels) & ~jnp.isneginf(values)
    best = jnp.max(jnp.where(right, values, -jnp.inf), axis=1, keepdims=True, initial=-jnp.inf)
    equal = values == best
    higher, tied, right_ones = (_count(x, values) for x in (values > best, equal, equal & right))
    place = jnp.arange(k, dtype=values.dtype)[None]  # the places after the higher ones, filled one after the other
    misses = jnp.maximum(tied - right_ones - place, 0) / jnp.maximum(tied - place, 1)
    hits = 1 - jnp.prod(jnp.where(place < k - higher, misses, 1), axis=1)
    return mean(mark_invalid(jnp.where(right_ones[:, 0] == 0, 0, hits), ~have_nan(values)), weights=weights)


def _count(which: Array, values: Array) -> Array:
    return jnp.sum(which, axis=1, keepdims=True, dtype=values.dtype)


def _right(shape: tuple[int, ...], query_labels: ArrayLike | None, candidate_labels: ArrayLike | None) -> Array:
    """Which candidates are right, `[queries, candidates]`."""
    if query_labels is None and candidate_labels is None:
        if shape[0] != shape[1]:
            raise ValueError(
                f"recall_at_k: without labels there must be a candidate for each query, got {list(shape)}; "
                "pass query_labels and candidate_labels"
            )
        return jnp.eye(shape[0], dtype=bool)
    if query_labels is None or candidate_labels is None:
        missing = "query_labels" if query_labels is None else "candidate_labels"
        raise ValueError(f"recall_at_k: {missing} are missing; pass both labels or neither")
    pair = []
    for name, given, size in zip(
        ("query_labels", "candidate_labels"), (query_labels, candidate_labels), shape, strict=True
    ):
        labels = labels_array("recall_at_k", name, given)
        if labels.shape != (size,):
            raise ValueError(f"recall_at_k: {name} must be [{size}], got {list(labels.shape)}")
        if not jnp.issubdtype(labels.dtype, jnp.integer):
            raise TypeError(f"recall_at_k: {name} must be integers, got {labels.dtype}")
        pair.append(labels)
    return same_integers(pair[0][:, None], pair[1][None, :])
