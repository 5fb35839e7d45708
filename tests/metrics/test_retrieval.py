"""Recall at k against PyTorch's topk, and of equal scores against all orders of the candidates."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from jaxnets import metrics
from tests.oracles import normal, quick_jit

QUERIES, CANDIDATES = np.array([0, 1, 2, 0, 4, 1]), np.array([1, 0, 0, 2, 3, 1, 2, 0, 0])
SCORES = normal(6, 9)
recall = quick_jit(metrics.recall_at_k, static_argnames="k")


def torch_recall(scores, query_labels, candidate_labels, k):
    best = torch.tensor(scores).topk(k, dim=1).indices
    hits = (torch.tensor(candidate_labels)[best] == torch.tensor(query_labels)[:, None]).any(1)
    return hits.double().mean().item()


@pytest.mark.parametrize("k", [1, 2, 5])
def test_both_ways_are_torchs_topk(k):
    expected = torch_recall(SCORES, QUERIES, CANDIDATES, k)
    np.testing.assert_allclose(recall(SCORES, QUERIES, CANDIDATES, k=k).compute(), expected, rtol=1e-6)
    expected = torch_recall(SCORES.T, CANDIDATES, QUERIES, k)
    np.testing.assert_allclose(recall(SCORES.T, CANDIDATES, QUERIES, k=k).compute(), expected, rtol=1e-6)
    pairs = np.arange(6)
    expected = torch_recall(SCORES[:, :6], pairs, pairs, k)
    np.testing.assert_allclose(recall(SCORES[:, :6], k=k).compute(), expected, rtol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 9])
def test_equal_scores_count_by_the_share_of_orders_with_a_hit(k):
    """Each of the orders of five candidates is sorted stably, so that the order decides between equal scores."""
    generator = np.random.default_rng(k)
    scores = generator.integers(0, 3, (4, 5)).astype(np.float32)
    queries, candidates = generator.integers(0, 3, 4), generator.integers(0, 3, 5)
    hits = []
    for order in map(list, itertools.permutations(range(5))):
        best = np.argsort(-scores[:, order], axis=1, kind="stable")[:, :k]
        hits.append(np.mean(np.any(candidates[order][best] == queries[:, None], axis=1)))
    actual = recall(scores, queries, candidates, k=k).compute()
    np.testing.assert_allclose(actual, np.mean(hits), rtol=1e-6)


def test_embeddings_that_are_all_equal_are_guessed():
    np.testing.assert_allclose(recall(np.ones((6, 6), np.float32), k=2).compute(), 2 / 6, rtol=1e-6)


def test_left_out_candidates_and_queries_without_any():
    """Nearest neighbors of the same class among the others, as in metric learning: by hand."""
    scores = jnp.array([[-jnp.inf, 3, 1, 2], [3, -jnp.inf, 2, 1], [1, 2, -jnp.inf, 3], [2, 1, 3, -jnp.inf]])
    labels = jnp.array([0, 0, 1, 2])
    assert recall(scores, labels, labels, k=1).compute() == 0.5
    assert recall(scores, labels, labels, k=4).compute() == 0.5


def test_batches_of_queries_weights_and_nan():
    whole = recall(SCORES, QUERIES, CANDIDATES, k=2)
    parts = [recall(SCORES[r], QUERIES[r], CANDIDATES, k=2) for r in (slice(0, 3), slice(3, 6))]
    np.testing.assert_allclose(metrics.merge(*parts).compute(), whole.compute(), rtol=1e-6)
    spoiled = np.where(np.arange(6)[:, None] == 5, np.nan, SCORES)
    assert np.isnan(recall(spoiled, QUERIES, CANDIDATES, k=2).compute())
    masked = recall(spoiled, QUERIES, CANDIDATES, k=2, weights=np.arange(6) < 5)
    expected = torch_recall(SCORES[:5], QUERIES[:5], CANDIDATES, 2)
    np.testing.assert_allclose(masked.compute(), expected, rtol=1e-6)


def test_errors():
    with pytest.raises(ValueError, match=r"must be a candidate for each query, got \[6, 9\]; pass query_labels"):
        metrics.recall_at_k(SCORES, k=1)
    with pytest.raises(ValueError, match="candidate_labels are missing; pass both"):
        metrics.recall_at_k(SCORES, QUERIES, k=1)
    with pytest.raises(ValueError, match=r"query_labels must be \[6\], got \[9\]"):
        metrics.recall_at_k(SCORES, CANDIDATES, QUERIES, k=1)
    with pytest.raises(TypeError, match="candidate_labels must be integers, got float32"):
        metrics.recall_at_k(SCORES, QUERIES, jnp.ones(9), k=1)
    with pytest.raises(ValueError, match="k must be an integer of at least 1, got 0"):
        metrics.recall_at_k(SCORES, QUERIES, CANDIDATES, k=0)
    with pytest.raises(ValueError, match=r"scores must be \[queries, candidates\], got \[9\]"):
        metrics.recall_at_k(SCORES[0], k=1)


def test_labels_beyond_int32_are_not_those_of_other_candidates():
    labels = jnp.array([2**32 - 1], jnp.uint32)
    found = metrics.recall_at_k(jnp.array([[1.0, 0.0]]), labels, jnp.array([-1, 5]), k=1)
    assert found.compute() == 0
    found = metrics.recall_at_k(jnp.array([[1.0, 0.0]]), labels, jnp.array([2**32 - 1, 5], jnp.uint32), k=1)
    assert found.compute() == 1
