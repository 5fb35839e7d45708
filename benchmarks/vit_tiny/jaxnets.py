"""jaxnets: the library's model and the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import optax

from benchmarks import vit_tiny as case
from benchmarks.loops import many_at_once
from benchmarks.nanogpt.jaxnets import stack_blocks
from jaxnets import losses
from jaxnets.models import ViTConfig, vit
from jaxnets.training import TrainState, make_step, supervised


def prepare(weights, images, labels):
    sizes = {"layers": case.LAYERS, "heads": case.HEADS, "features": case.FEATURES}
    model, optimizer = vit(ViTConfig(case.SIZE, case.PATCH, case.CLASSES, **sizes)), optax.adam(1e-3)
    loss = supervised(model, losses.cross_entropy)
    params = jax.device_put(stack_blocks(weights))
    state = TrainState.create(params, optimizer.init(params), seed=0)
    data = jax.device_put((images, labels))
    return many_at_once(make_step(loss, optimizer), state, data, case)
