"""Scores of segmentation against scikit-learn and the formula in PyTorch; tests/metrics/table.py has the mean IoU."""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk
import torch
from torch.nn import functional

from jaxnets import metrics
from tests.oracles import quick_jit

GENERATOR = np.random.default_rng(0)
LABELS = GENERATOR.integers(0, 4, (3, 6, 7))
LOGITS = GENERATOR.normal(size=(3, 6, 7, 4)).astype(np.float32) + np.eye(4, dtype=np.float32)[LABELS]
VOID = np.where(GENERATOR.random((3, 6, 7)) < 0.3, 255, LABELS)
KEPT = VOID != 255


@functools.partial(quick_jit, static_argnames=("average", "ignored", "threshold"))
def overlaps(logits, labels, **settings):
    return metrics.iou(logits, labels, **settings).compute(), metrics.dice(logits, labels, **settings).compute()


def torch_overlaps(logits, labels, kept):
    """Intersections and sizes of one-hot masks, `[classes]` each."""
    found = functional.one_hot(torch.tensor(logits).argmax(-1), 4)[torch.tensor(kept)]
    there = functional.one_hot(torch.tensor(labels), 4)[torch.tensor(kept)]
    return (found & there).sum(0), (found | there).sum(0), found.sum(0) + there.sum(0)


@pytest.mark.parametrize("kept", [np.ones_like(KEPT), KEPT], ids=["all", "without void"])
def test_scores_of_each_class_are_those_of_masks_in_torch(kept):
    iou, dice = overlaps(LOGITS, np.where(kept, LABELS, 255), average=None, ignored=255)
    both, either, sizes = torch_overlaps(LOGITS, LABELS, kept)
    np.testing.assert_allclose(iou, both / either, rtol=1e-6)
    np.testing.assert_allclose(dice, 2 * both / sizes, rtol=1e-6)


def test_dice_is_f1():
    """scikit-learn's."""
    predicted = LOGITS.argmax(-1)
    expected = sk.f1_score(VOID[KEPT], predicted[KEPT], average="macro")
    np.testing.assert_allclose(overlaps(LOGITS, VOID, ignored=255)[1], expected, rtol=1e-6)


def test_binary_scores_are_sklearns():
    logits, labels = LOGITS[..., 0], LABELS == 0
    found = logits > 0.3
    settings = {"average": "binary", "threshold": 0.3}
    oracles = (sk.jaccard_score, sk.f1_score)
    expected = [oracle(labels.ravel(), found.ravel()) for oracle in oracles]
    np.testing.assert_allclose(overlaps(logits, labels, **settings), expected, rtol=1e-6)
    expected = [oracle(labels[KEPT], found[KEPT]) for oracle in oracles]
    void = np.where(KEPT, labels, 255)
    np.testing.assert_allclose(overlaps(logits, void, ignored=255, **settings), expected, rtol=1e-6)


def test_pixel_accuracy_leaves_out_void_and_weighs():
    weights = GENERATOR.random((3, 6, 7)).astype(np.float32)
    predicted = LOGITS.argmax(-1)
    for w in (None, weights):
        actual = metrics.pixel_accuracy(LOGITS, VOID, ignored=255, weights=w).compute()
        expected = sk.accuracy_score(VOID[KEPT], predicted[KEPT], sample_weight=None if w is None else w[KEPT])
        np.testing.assert_allclose(actual, expected, rtol=1e-6)
    np.testing.assert_allclose(
        metrics.pixel_accuracy(LOGITS, LABELS).compute(), np.mean(predicted == LABELS), rtol=1e-6
    )


def test_ignored_classes_have_no_score_and_void_that_is_not_ignored_is_a_mistake_of_the_data():
    scores = metrics.iou(LOGITS, LABELS, average=None, ignored=2).compute()
    np.testing.assert_array_equal(np.isnan(scores), [False, False, True, False])
    assert np.isnan(metrics.iou(LOGITS, VOID).compute())
    assert np.isnan(metrics.iou(LOGITS, np.full_like(LABELS, 255), ignored=255).compute())
    of_bytes = overlaps(LOGITS, VOID.astype(np.uint8), ignored=255)
    np.testing.assert_array_equal(of_bytes, overlaps(LOGITS, VOID, ignored=255))
    assert not np.any(np.isnan(overlaps(LOGITS, LABELS.astype(np.uint8), ignored=-1)))


def test_errors():
    with pytest.raises(ValueError, match="iou: average must be 'binary', 'macro' or None, got 'micro'"):
        metrics.iou(LOGITS, LABELS, average="micro")
    with pytest.raises(ValueError, match="dice: a threshold is only for average='binary', got 'macro'"):
        metrics.dice(LOGITS, LABELS, threshold=0.5)
    with pytest.raises(ValueError, match="two classes or more"):
        metrics.pixel_accuracy(jnp.zeros((2, 1)), jnp.zeros(2, int))
    with pytest.raises(ValueError, match=r"weights must be \[3, 6, 7\], one per example, got \[3\]"):
        metrics.iou(LOGITS, LABELS, ignored=255, weights=np.ones(3))


@pytest.mark.parametrize("score", [metrics.iou, metrics.dice])
def test_without_a_pixel_that_counts_there_is_no_score(score):
    one, two = jnp.array([1.0, -1.0]), jnp.array([[1.0, 0.0], [0.0, 1.0]])
    void = jnp.array([255, 255])
    assert np.isnan(score(one, void, average="binary", ignored=255).compute())
    assert np.isnan(score(two, void, average=None, ignored=255).compute()).all()
    assert np.isnan(score(two, void, ignored=255).compute())
    # class 1 itself is ignored, and class 0 of the second pixel counts
    assert np.isnan(score(one, jnp.array([1, 0]), average="binary", ignored=1).compute())
    # pixels count, but none is found or labeled
    assert score(-jnp.ones(2), jnp.array([0, 0]), average="binary").compute() == 0
