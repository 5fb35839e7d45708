"""jaxnets: the library's model and the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import jax.numpy as jnp

from benchmarks import nanogpt as case
from benchmarks.loops import many_at_once
from benchmarks.nanogpt.optimizer import clipped_adamw
from jaxnets import losses
from jaxnets.models import GPTConfig, gpt
from jaxnets.training import TrainState, make_step, path_mask, supervised


def stack_blocks(weights):
    return weights | {"blocks": jax.tree.map(lambda *arrays: jnp.stack(arrays), *weights["blocks"])}


def decayed(params):  # arrays of the blocks are stacked, so the number of axes does not tell
    return path_mask(params, "*/kernel", "*/embedding")


def prepare(weights, ids):
    sizes = {"layers": case.LAYERS, "heads": case.HEADS, "features": case.FEATURES}
    model = gpt(GPTConfig(case.VOCABULARY, case.CONTEXT, activation="gelu_exact", bias=False, **sizes))
    optimizer, loss = clipped_adamw(decayed), supervised(model, losses.cross_entropy)
    params = jax.device_put(stack_blocks(weights))
    state = TrainState.create(params, optimizer.init(params), seed=0)
    data = jax.device_put((ids[:, :-1], ids[:, 1:]))
    return many_at_once(make_step(loss, optimizer), state, data, case)
