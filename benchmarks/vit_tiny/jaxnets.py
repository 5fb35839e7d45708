"""jaxnets: the library's model and the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import optax

from benchmarks import vit_tiny as case
from benchmarks.last_loss import last_loss
from benchmarks.nanogpt.jaxnets import stack_blocks
from benchmarks.peer import Peer
from jaxnets import losses
from jaxnets.models import ViTConfig, vit
from jaxnets.training import TrainState, compile_step, make_step, scan_data, supervised


def prepare(weights, images, labels):
    sizes = {"layers": case.LAYERS, "heads": case.HEADS, "features": case.FEATURES}
    model, optimizer = vit(ViTConfig(case.SIZE, case.PATCH, case.CLASSES, **sizes)), optax.adam(1e-3)
    loss = supervised(model, losses.cross_entropy)
    params = jax.device_put(stack_blocks(weights))
    state = TrainState.create(params, optimizer.init(params), seed=0)
    run_steps = compile_step(scan_data(make_step(loss, optimizer), steps=case.STEPS, batch_size=case.BATCH))
    data = jax.device_put((images, labels))

    def run(steps):
        nonlocal state
        for _ in range(steps // case.STEPS):
            state, measured = run_steps(state, data)
        return last_loss(measured, state)

    return Peer(run)
