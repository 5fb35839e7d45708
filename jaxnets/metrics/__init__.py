"""Metrics as trees of sums: computed from a batch inside a compiled step, added, and converted to numbers at the end.

    measured = metrics.accuracy(logits, labels)         # a pytree, under jit, scan, vmap or as grad's auxiliary output
    measured = metrics.merge(measured, of_next_batch)   # or metrics.reduce(stacked) of the output of scan
    metrics.compute({"accuracy": measured})             # {"accuracy": Array(0.97)}

The division into batches does not change the result. Metrics take logits, integer labels and `weights`, one per
example: 0 and 1 mask padding, other weights act as scikit-learn's `sample_weight`. Examples of weight 0 are ignored,
even if they are NaN. Undefined metrics are NaN, and so are metrics of invalid labels (a class out of range), because
compiled programs cannot raise exceptions. Metrics have no gradients.
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
