"""jaxnets: the library's model and the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import jax.numpy as jnp
import optax

from benchmarks import segmentation_unet as case
from benchmarks.loops import many_at_once
from benchmarks.seq2seq.jaxnets import load
from jaxnets import losses, metrics
from jaxnets.models import SegmentationUNetConfig, segmentation_unet
from jaxnets.regularizers import decay_mask
from jaxnets.training import init_train_state, make_step


def prepare(weights, images, labels):
    model = segmentation_unet(SegmentationUNetConfig(case.CLASSES, width=case.WIDTH, levels=case.LEVELS, norm=True))

    def loss(params, state, batch, *, key, train):
        x, labels = batch
        logits, state = model.apply(params, state, x, key=key, train=train)
        values = losses.cross_entropy(logits, jnp.minimum(labels, case.CLASSES - 1))
        mean = metrics.mean(values, weights=jnp.asarray(case.CLASS_WEIGHTS)[labels])
        return mean, (state, {"loss": mean})

    optimizer = optax.adamw(case.RATE, weight_decay=case.DECAY, mask=decay_mask)
    state = init_train_state(model, optimizer, seed=0)
    state = state._replace(params=load(state.params, weights))
    data = jax.device_put((images, labels))
    return many_at_once(make_step(loss, optimizer), state, data, case)
