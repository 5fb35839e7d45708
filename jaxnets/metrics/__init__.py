"""Metrics as trees of sums: made from a batch inside a compiled step, added up, and turned into numbers at the end.

    measured = metrics.accuracy(logits, labels)         # a pytree, made inside jit, scan, vmap or grad's auxiliary
    measured = metrics.merge(measured, of_next_batch)   # or metrics.reduce(stacked) of what scan returned
    metrics.compute({"accuracy": measured})             # {"accuracy": Array(0.97)}

How the examples are split into batches makes no difference. Metrics take logits, integer labels and `weights`, one an
example: 0 and 1 mask padding, any other weights act as scikit-learn's `sample_weight`. What an example of weight 0
holds is not looked at, not even NaN. Where a metric is undefined it is NaN, and so it is where a label means nothing
(a class out of range), because exceptions cannot be raised in compiled programs. No gradient flows through metrics.
"""

from jaxnets.metrics.confusion import ClassScore, ConfusionMatrix, confusion_matrix, f1, precision, recall
from jaxnets.metrics.means import (
    Mean,
    Perplexity,
    accuracy,
    binary_accuracy,
    mean,
    mean_squared_error,
    perplexity,
    top_k_accuracy,
)
from jaxnets.metrics.metric import Metric, Sum, all_reduce, compute, merge, reduce
from jaxnets.metrics.ranking import RocAuc, roc_auc, roc_auc_one_vs_rest
from jaxnets.metrics.regression import R2, r2

__all__ = [
    "R2",
    "ClassScore",
    "ConfusionMatrix",
    "Mean",
    "Metric",
    "Perplexity",
    "RocAuc",
    "Sum",
    "accuracy",
    "all_reduce",
    "binary_accuracy",
    "compute",
    "confusion_matrix",
    "f1",
    "mean",
    "mean_squared_error",
    "merge",
    "perplexity",
    "precision",
    "r2",
    "recall",
    "reduce",
    "roc_auc",
    "roc_auc_one_vs_rest",
    "top_k_accuracy",
]
