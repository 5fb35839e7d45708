"""Metrics as trees of sums: computed from a batch inside a compiled step, added, and converted to numbers at the end.

    measured = metrics.accuracy(logits, labels)         # a pytree, under jit, scan, vmap or as grad's auxiliary output
    measured = metrics.merge(measured, of_next_batch)   # or metrics.reduce(stacked) of the output of scan
    metrics.compute({"accuracy": measured})             # {"accuracy": Array(0.97)}

The division into batches does not change the result. Metrics take logits, integer labels and `weights`, one per
example: 0 and 1 mask padding, other weights act as scikit-learn's `sample_weight`. Examples of weight 0 are ignored,
even if they are NaN. Undefined metrics are NaN, and so are metrics of invalid labels (a class out of range), because
compiled programs cannot raise exceptions. Only `mean`, `psnr` and `ssim` have gradients: a loss may return them.

Generated images are measured by `frechet_distance`, `ssim` and `psnr`, searches by `recall_at_k`, segmentation by
`iou`, `dice` and `pixel_accuracy`. Texts are compared by plain functions that return a number: `edit_distance`, the
error rates and `bleu`.
"""

from jaxnets.metrics.confusion import (
    ClassScore as ClassScore,
    ConfusionMatrix as ConfusionMatrix,
    confusion_matrix as confusion_matrix,
    f1 as f1,
    precision as precision,
    recall as recall,
)
from jaxnets.metrics.frechet import (
    FrechetDistance as FrechetDistance,
    Moments as Moments,
    frechet_distance as frechet_distance,
    moments as moments,
)
from jaxnets.metrics.images import psnr as psnr, ssim as ssim
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
from jaxnets.metrics.retrieval import recall_at_k as recall_at_k
from jaxnets.metrics.segmentation import (
    OverlapScore as OverlapScore,
    dice as dice,
    iou as iou,
    pixel_accuracy as pixel_accuracy,
)
from jaxnets.metrics.sequences import (
    bleu as bleu,
    character_error_rate as character_error_rate,
    edit_distance as edit_distance,
    exact_match as exact_match,
    word_error_rate as word_error_rate,
)
