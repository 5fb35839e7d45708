"""Metrics as trees of sums: made from a batch inside a compiled step, added up, and turned into numbers at the end.

    measured = metrics.accuracy(logits, labels)         # a pytree, made inside jit, scan, vmap or grad's auxiliary
    measured = metrics.merge(measured, of_next_batch)   # or metrics.reduce(stacked) of what scan returned
    metrics.compute({"accuracy": measured})             # {"accuracy": Array(0.97)}

How the examples are split into batches makes no difference. Metrics take logits, integer labels and `weights`, one an
example: 0 and 1 mask padding, any other weights act as scikit-learn's `sample_weight`. What an example of weight 0
holds is not looked at, not even NaN. Where a metric is undefined it is NaN, and so it is where a label means nothing
(a class out of range), because exceptions cannot be raised in compiled programs. Gradients flow through `mean` alone,
which a loss may return.
"""

from jaxnets.metrics.confusion import (
    ClassScore as ClassScore,
    ConfusionMatrix as ConfusionMatrix,
    confusion_matrix as confusion_matrix,
    f1 as f1,
    precision as precision,
    recall as recall,
)
from jaxnets.metrics.means import (
    Mean as Mean,
    Perplexity as Perplexity,
    accuracy as accuracy,
    binary_accuracy as binary_accuracy,
    mean as mean,
    mean_squared_error as mean_squared_error,
    perplexity as perplexity,
    top_k_accuracy as top_k_accuracy,
)
from jaxnets.metrics.metric import (
    Metric as Metric,
    Sum as Sum,
    all_reduce as all_reduce,
    compute as compute,
    merge as merge,
    reduce as reduce,
)
from jaxnets.metrics.ranking import RocAuc as RocAuc, roc_auc as roc_auc, roc_auc_one_vs_rest as roc_auc_one_vs_rest
from jaxnets.metrics.regression import R2 as R2, r2 as r2
