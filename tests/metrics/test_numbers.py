"""Numbers that are exact, undefined or wrong, and what is refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics as sk

from jaxnets import losses, metrics
from jaxnets.ctc import ctc_loss
from tests.forms import ON_CPU, float64
from tests.metrics.table import CLASSES, EXAMPLES, METRICS, regression_data
from tests.metrics.test_streaming import merged


def test_counts_are_exact_beyond_2_to_the_24():
    """2^25 + 1 examples, of which one is wrong: float32 alone has neither number."""
    right = metrics.accuracy(np.array([[0.0, 1.0]], np.float32), np.array([1]))
    wrong = metrics.accuracy(np.array([[0.0, 1.0]], np.float32), np.array([0]))
    matrix = metrics.confusion_matrix(np.array([1]), np.array([1]), classes=2)
    for _ in range(25):
        right, matrix = metrics.merge((right, matrix), (right, matrix))
    many, matrix = metrics.merge((right, matrix), (wrong, metrics.confusion_matrix([1], [1], classes=2)))
    assert exact(many.total) == 2**25
    assert exact(many.weight) == 2**25 + 1
    assert exact(matrix.counts)[1, 1] == 2**25 + 1
    ones = metrics.Mean.of(*(metrics.Sum.of(jnp.full(9, 2.0**24 - 1), jnp.zeros(9)) for _ in range(2)))
    assert exact(metrics.reduce(ones).weight) == 9 * (2**24 - 1)


def exact(total):
    return np.asarray(total.high, np.float64) + np.asarray(total.low, np.float64)


@pytest.mark.parametrize("batch_size", [1, 64, 60000])
def test_sums_over_60000_losses_do_not_drift(batch_size):
    values = np.random.default_rng(0).exponential(size=60000).astype(np.float32)
    values = values[: len(values) // batch_size * batch_size].reshape(-1, batch_size)
    reduced = metrics.reduce(jax.vmap(metrics.mean)(values))
    start = jax.tree.map(jnp.zeros_like, metrics.mean(values[0]))
    carried, _ = jax.lax.scan(lambda total, batch: (metrics.merge(total, metrics.mean(batch)), None), start, values)
    for measured in (reduced, carried):
        # A GPU sums the values of a batch in another order: 4e-7 was seen on an H200.
        rtol = 2e-7 if ON_CPU else 6e-7
        np.testing.assert_allclose(metrics.compute(measured), values.astype(np.float64).mean(), rtol=rtol)


def test_infinite_losses_have_an_infinite_mean():
    infinite = metrics.merge(metrics.mean(np.array([np.inf, 1.0], np.float32)), metrics.mean(np.ones(2, np.float32)))
    assert metrics.compute(infinite) == np.inf
    assert np.isnan(metrics.compute(metrics.merge(infinite, metrics.mean(np.array([np.nan], np.float32)))))


@pytest.mark.parametrize("batch_size", [7, 100])
def test_r2_of_targets_far_from_zero(batch_size):
    """A mean 10,000 times the standard deviation, where sums of squares would cancel to nothing."""
    generator = np.random.default_rng(0)
    targets = (generator.normal(size=700) + 1e4).astype(np.float32)
    predictions = (targets + 0.3 * generator.normal(size=700)).astype(np.float32)
    expected = sk.r2_score(targets.astype(np.float64), predictions.astype(np.float64))
    actual = merged("r2", predictions, targets, np.ones(700, np.float32), batch_size)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


@pytest.mark.parametrize(("error", "expected"), [(0.0, 1.0), (0.1, 0.0)])
@pytest.mark.parametrize("batch_size", [7, 100, 700])
def test_r2_of_constant_targets_is_sklearns(batch_size, error, expected):
    targets = np.full(700, 5.1, np.float32)
    predictions = targets + error * (np.arange(700) == 3).astype(np.float32)
    assert sk.r2_score(targets.astype(np.float64), predictions.astype(np.float64)) == expected
    assert merged("r2", predictions, targets, np.full(700, 0.3, np.float32), batch_size) == expected


def test_r2_of_one_example_is_nan():
    assert np.isnan(metrics.compute(metrics.r2(np.ones(1, np.float32), np.ones(1, np.float32))))


def test_many_scores_with_weights_equal_sklearn():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 20000)
    scores = (generator.normal(size=20000) + labels).round(1).astype(np.float32)
    weights = generator.exponential(size=20000).astype(np.float32)
    for w in (None, weights):
        actual = metrics.compute(metrics.roc_auc(scores, labels, weights=w))
        np.testing.assert_allclose(actual, sk.roc_auc_score(labels, scores, sample_weight=w), rtol=1e-5)


def test_scores_that_are_nan_give_nan():
    assert np.isnan(metrics.compute(metrics.roc_auc(np.array([0.1, np.nan, 0.3], np.float32), np.array([0, 1, 1]))))


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name][2] is not regression_data])
def test_labels_without_meaning_give_nan(name):
    metric, _, data = METRICS[name]
    outputs, targets = data(np.random.default_rng(1))
    for label in (-1, CLASSES):
        wrong = np.where(np.arange(EXAMPLES) == 3, label, targets)
        numbers = metrics.compute(metric(outputs, wrong, weights=None))
        assert all(np.all(np.isnan(number)) for number in jax.tree.leaves(numbers)), label


@pytest.mark.parametrize("name", METRICS)
def test_batches_that_do_not_fit_are_refused(name):
    metric, _, data = METRICS[name]
    outputs, targets = data(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"\[24.*\[5"):
        metric(outputs, targets[:5], weights=None)
    with pytest.raises(ValueError, match=r"weights must be \[24\], one per example, got \[5\]"):
        metric(outputs, targets, weights=np.ones(5))
    if name != "confusion_matrix":
        with pytest.raises(TypeError, match="must be floating point"):
            metric(outputs.astype(np.int32), targets, weights=None)


def test_wrong_settings_are_refused():
    logits, labels = np.zeros((2, 3), np.float32), np.zeros(2, np.int32)
    with pytest.raises(ValueError, match="k must be from 1 to the number of classes, 3; got 4"):
        metrics.top_k_accuracy(logits, labels, k=4)
    with pytest.raises(ValueError, match=r"precision: average must be 'binary', .* got 'samples'"):
        metrics.precision(logits, labels, average="samples")
    with pytest.raises(ValueError, match="recall: a threshold is only for average='binary', got 'macro'"):
        metrics.recall(logits, labels, threshold=0.5)
    with pytest.raises(ValueError, match="'binary' needs two classes, got 3"):
        metrics.confusion_matrix(labels, labels, classes=3).f1("binary")
    with pytest.raises(TypeError, match="predictions must be integers, numbers of classes, got float32"):
        metrics.confusion_matrix(logits, labels, classes=3)
    with pytest.raises(ValueError, match="two classes or more"):
        metrics.accuracy(np.zeros((2, 1), np.float32), labels)
    with pytest.raises(ValueError, match=r"labels must be \[examples\], got \[2, 3\]; call metrics.reduce"):
        metrics.compute(jax.vmap(metrics.roc_auc)(logits, jnp.ones((2, 3))))


def test_threshold_of_probabilities():
    probabilities, labels = np.array([0.2, 0.4, 0.6, 0.9], np.float32), np.array([0, 1, 0, 1])
    assert metrics.compute(metrics.binary_accuracy(probabilities, labels, threshold=0.5)) == 0.5
    recall = metrics.recall(probabilities, labels, average="binary", threshold=0.5)
    assert metrics.compute(recall) == sk.recall_score(labels, probabilities > 0.5) == 0.5


def test_what_is_not_a_metric_is_named():
    with pytest.raises(TypeError, match=r"'norms/gradient' is not a metric .*; write metrics.mean\(value\)"):
        metrics.compute({"loss": metrics.mean(jnp.ones(2)), "norms": {"gradient": jnp.ones(2)}})
    with pytest.raises(ValueError, match="accuracy"):
        metrics.merge({"loss": metrics.mean(jnp.ones(2))}, {"accuracy": metrics.mean(jnp.ones(2))})
    with pytest.raises(ValueError, match=r"arrays need a first axis, .* got scalars; use metrics.merge"):
        metrics.reduce(metrics.mean(jnp.ones((2, 3))))


def test_one_batch_is_counted_exactly_beyond_2_to_the_24():
    classes = jnp.zeros(2**24 + 1001, jnp.int32)
    matrix = jax.jit(lambda: metrics.confusion_matrix(classes, classes, classes=2))()
    assert exact(matrix.counts).tolist() == [[2**24 + 1001, 0], [0, 0]]
    ones = jnp.ones(classes.shape)
    weighted = jax.jit(lambda: metrics.confusion_matrix(classes, classes, classes=2, weights=ones))()
    assert exact(weighted.counts)[0, 0] == 2**24 + 1001


@pytest.mark.parametrize("weights", [None, [1, 1]])
def test_a_network_that_puts_out_nan_has_no_score(weights):
    logits, labels = jnp.array([[0.0, 1.0, 0.0], [jnp.nan, 0.0, 0.0]]), jnp.array([1, 0])
    weights = None if weights is None else jnp.array(weights)
    scores = {
        "accuracy": metrics.accuracy(logits, labels, weights=weights),
        "top_k_accuracy": metrics.top_k_accuracy(logits, labels, k=2, weights=weights),
        "f1": metrics.f1(logits, labels, weights=weights),
        "binary_accuracy": metrics.binary_accuracy(logits[:, 0], labels, weights=weights),
        "binary f1": metrics.f1(logits[:, 0], labels, average="binary", weights=weights),
    }
    assert all(np.isnan(score) for score in metrics.compute(scores).values())
    masked = jnp.array([1, 0])
    assert metrics.accuracy(logits, labels, weights=masked).compute() == 1
    assert metrics.f1(logits, labels, weights=masked).compute() == 1


SCORES = np.eye(3, dtype=np.float32)
BIG = np.arange(3) + 2**32


@pytest.mark.parametrize(
    "measure",
    [
        lambda labels: metrics.accuracy(SCORES, labels),
        lambda labels: metrics.top_k_accuracy(SCORES, labels, k=2),
        lambda labels: metrics.binary_accuracy(SCORES[0], labels),
        lambda labels: metrics.confusion_matrix(np.arange(3), labels, classes=3),
        lambda labels: metrics.confusion_matrix(labels, np.arange(3), classes=3),
        lambda labels: losses.cross_entropy(SCORES, labels),
        lambda labels: losses.hinge(SCORES[0], labels),
        lambda labels: losses.sequence_cross_entropy(SCORES[None], labels[None], np.ones((1, 3))),
        lambda labels: metrics.exact_match(labels[None], np.zeros((1, 3), int)),
        lambda labels: metrics.exact_match(np.zeros((1, 3), int), labels[None]),
        lambda labels: metrics.mean(labels),
        lambda labels: ctc_loss(
            np.zeros((1, 5, 3), np.float32),
            labels[None],
            logit_lengths=np.array([5]),
            label_lengths=np.array([3]),
        ),
    ],
)
@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_labels_beyond_32_bits_are_refused(measure, dtype):
    with pytest.raises(
        ValueError, match=r"(labels|predictions|values): JAX has integers as .* from 4294967296 to 4294967298"
    ):
        measure(BIG.astype(dtype))


@pytest.mark.parametrize("jitted", [False, True])
def test_unsigned_labels_beyond_int32_are_no_classes(jitted):
    labels = np.array([0, 1, 2**32 - 1], np.uint32)
    accuracy = jax.jit(metrics.accuracy) if jitted else metrics.accuracy
    assert np.isnan(accuracy(SCORES, labels).compute())
    with float64():
        wide = jnp.asarray(BIG)
        assert wide.dtype == np.int64
        assert np.isnan(accuracy(SCORES, wide).compute())


@pytest.mark.parametrize("wrong", [[0.0, 0.0], [np.nan, np.nan], [-1.0, 2.0], [0.6, 0.6]])
@pytest.mark.parametrize(
    "measure",
    [
        metrics.accuracy,
        functools.partial(metrics.top_k_accuracy, k=1),
        metrics.f1,
        metrics.iou,
        metrics.roc_auc_one_vs_rest,
    ],
)
def test_what_is_no_probability_is_no_label(measure, wrong):
    logits, labels = jnp.eye(2)[jnp.array([0, 1, 0, 1])], np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    np.testing.assert_allclose(np.mean(measure(logits, labels).compute()), 1, rtol=1e-6)
    labels[2] = wrong
    assert np.isnan(measure(logits, labels).compute()).all()
