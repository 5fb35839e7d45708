"""All metrics, each with scikit-learn's function and with data that has ties and missing classes."""

import functools

import jax.numpy as jnp
import numpy as np
import sklearn.metrics as sk
from scipy.special import log_softmax

from jaxnets import losses, metrics

EXAMPLES, CLASSES = 24, 4


def binary_data(generator):
    """Scores with many ties."""
    return generator.integers(-2, 3, EXAMPLES).astype(np.float32), generator.integers(0, 2, EXAMPLES)


def class_data(generator):
    """Logits with many ties, and a class that may be missing."""
    logits = generator.integers(-2, 3, (EXAMPLES, CLASSES)).astype(np.float32)
    return logits, generator.integers(0, generator.integers(1, CLASSES + 1), EXAMPLES)


def untied_class_data(generator):
    """Real logits: softmax rounds, so that probabilities which are equal on paper need not be equal in float32."""
    return generator.normal(size=(EXAMPLES, CLASSES)).astype(np.float32), class_data(generator)[1]


def regression_data(generator):
    targets = generator.normal(3, 2, (EXAMPLES, 2)).astype(np.float32)
    return targets + generator.normal(0, 1, (EXAMPLES, 2)).astype(np.float32), targets


def first_argmax(logits):
    return np.argmax(logits, axis=-1)


AVERAGES = ("macro", "micro", "weighted", None)
SCORES = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}


def class_scores(logits, labels, weights):
    return [getattr(metrics, s)(logits, labels, average=a, weights=weights) for s in SCORES for a in AVERAGES]


def sklearn_class_scores(logits, labels, w):
    settings = {"sample_weight": w, "zero_division": 0}
    return [
        score(labels, first_argmax(logits), average=a, labels=range(CLASSES) if a is None else None, **settings)
        for score in SCORES.values()
        for a in AVERAGES
    ]


def binary_scores(logits, labels, weights):
    return [getattr(metrics, score)(logits, labels, average="binary", weights=weights) for score in SCORES]


def sklearn_binary_scores(z, y, w):
    return [score(y, z > 0, sample_weight=w, zero_division=0, labels=[0, 1]) for score in SCORES.values()]


def top_2(logits, labels, w):
    untied = logits - 0.01 * np.arange(CLASSES)  # of equal logits the first counts
    return sk.top_k_accuracy_score(labels, untied, k=2, labels=range(CLASSES), sample_weight=w)


def roc_auc(z, y, w):
    return sk.roc_auc_score(y, z, sample_weight=w) if len(set(y)) == 2 else np.nan


def one_vs_rest(logits, labels, w):
    if len(set(labels)) < CLASSES:
        return np.nan
    probabilities = np.exp(logits.astype(np.float64))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return np.mean([sk.roc_auc_score(labels == k, probabilities[:, k], sample_weight=w) for k in range(CLASSES)])


def perplexity(logits, labels, w):
    return np.exp(np.average(-log_softmax(logits.astype(float), axis=1)[np.arange(len(labels)), labels], weights=w))


def matrix(logits, labels, w):
    return sk.confusion_matrix(labels, first_argmax(logits), labels=range(CLASSES), sample_weight=w)


def ignoring(label, logits, labels, w):
    """The mean Jaccard score without the examples of a class and without that class."""
    kept, predicted = labels != label, first_argmax(logits)
    labels, predicted, w = labels[kept], predicted[kept], w[kept]
    occurring = sorted({*labels, *predicted} - {label})
    if not occurring:
        return np.nan
    return sk.jaccard_score(labels, predicted, labels=occurring, average="macro", sample_weight=w, zero_division=0)


METRICS = {
    "accuracy": (metrics.accuracy, lambda z, y, w: sk.accuracy_score(y, first_argmax(z), sample_weight=w), class_data),
    "binary_accuracy": (
        metrics.binary_accuracy,
        lambda z, y, w: sk.accuracy_score(y, z > 0, sample_weight=w),
        binary_data,
    ),
    "top_k_accuracy": (functools.partial(metrics.top_k_accuracy, k=2), top_2, class_data),
    "confusion_matrix": (
        lambda z, y, weights: metrics.confusion_matrix(jnp.argmax(z, -1), y, classes=CLASSES, weights=weights),
        matrix,
        class_data,
    ),
    "iou": (metrics.iou, functools.partial(ignoring, None), class_data),
    "iou_ignoring_a_class": (functools.partial(metrics.iou, ignored=1), functools.partial(ignoring, 1), class_data),
    "mean_squared_error": (
        metrics.mean_squared_error,
        lambda p, t, w: sk.mean_squared_error(t, p, sample_weight=w),
        regression_data,
    ),
    "r2": (
        metrics.r2,
        lambda p, t, w: sk.r2_score(t, p, sample_weight=w) if len(t) > 1 else np.nan,
        regression_data,
    ),
    "perplexity": (
        lambda z, y, weights: metrics.perplexity(losses.cross_entropy(z, y), weights=weights),
        perplexity,
        class_data,
    ),
    "class_scores": (class_scores, sklearn_class_scores, class_data),
    "binary_scores": (binary_scores, sklearn_binary_scores, binary_data),
    "roc_auc": (metrics.roc_auc, roc_auc, binary_data),
    "roc_auc_one_vs_rest": (metrics.roc_auc_one_vs_rest, one_vs_rest, untied_class_data),
}
"""By name: the metric of (outputs, targets, weights), scikit-learn's on the whole data, and the data."""
