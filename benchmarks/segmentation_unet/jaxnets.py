"""jaxnets: the library's model and the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import jax.numpy as jnp
import optax

from benchmarks import segmentation_unet as case
from benchmarks.last_loss import last_loss
from benchmarks.peer import Peer
from benchmarks.seq2seq.jaxnets import load
from jaxnets import losses, metrics
from jaxnets.models import SegmentationUNetConfig, segmentation_unet
from jaxnets.regularizers import decay_mask
from jaxnets.training import compile_step, init_train_state, make_step, scan_data


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
    run_steps = compile_step(scan_data(make_step(loss, optimizer), steps=case.STEPS, batch_size=case.BATCH))
    data = jax.device_put((images, labels))

    def run(steps):
        nonlocal state
        for _ in range(steps // case.STEPS):
            state, measured = run_steps(state, data)
        return last_loss(measured, state)

    return Peer(run)
