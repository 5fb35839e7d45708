"""Losses: functions `(predictions, targets) -> one number an example`, most of them optax's.

None of them takes a mean: write `jnp.mean(losses.cross_entropy(logits, labels))`, or weigh the examples first; only
`sequence_cross_entropy` returns the mean over the tokens of a batch. `jaxnets.ctc` has the loss of sequences without an
alignment. There are losses of classifiers, of regression and of segmentation, and the terms that generative models
(variational autoencoders, GANs) and contrastive ones put together in a loss of their own.
Predictions and targets must have exactly the shapes stated; nothing is broadcast, because `[batch]` against
`[batch, 1]` would silently become `[batch, batch]`. Results are float32 for bfloat16 and float16 predictions.

Labels that mean nothing, such as class 10 of 10 or a 0 where -1 or 1 is expected, give NaN, which also shows inside
compiled programs, where no exception can be raised. Outside of them, classes that count from 1 are an error.
"""

from jaxnets.losses.adversarial import (
    gan_discriminator as gan_discriminator,
    gan_generator as gan_generator,
    gradient_penalty as gradient_penalty,
)
from jaxnets.losses.classification import (
    binary_cross_entropy as binary_cross_entropy,
    cross_entropy as cross_entropy,
    exponential as exponential,
    hinge as hinge,
    kl_divergence as kl_divergence,
    sequence_cross_entropy as sequence_cross_entropy,
)
from jaxnets.losses.contrastive import info_nce as info_nce
from jaxnets.losses.generative import (
    gaussian_kl as gaussian_kl,
    importance_weighted_bound as importance_weighted_bound,
)
from jaxnets.losses.regression import (
    absolute_error as absolute_error,
    huber as huber,
    squared_error as squared_error,
)
from jaxnets.losses.segmentation import binary_dice as binary_dice, dice as dice
