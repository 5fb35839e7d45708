"""jaxnets: the library's model and the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import jax.numpy as jnp
import optax

from benchmarks import clip as case
from benchmarks.loops import many_at_once
from benchmarks.nanogpt.jaxnets import stack_blocks
from jaxnets import losses, metrics
from jaxnets.models import CLIPConfig, CLIPInputs, clip
from jaxnets.regularizers import decay_mask
from jaxnets.training import TrainState, make_step


def make_model():
    sizes = {"layers": case.LAYERS, "heads": case.HEADS, "features": case.FEATURES}
    halves = {f"{half}_{name}": size for half in ("image", "text") for name, size in sizes.items()}
    words = {"vocabulary": case.VOCABULARY, "context": case.CONTEXT, "end_of_text": case.END}
    return clip(CLIPConfig(case.SIZE, case.PATCH, stem=case.STEM, embedding=case.FEATURES, **words, **halves))


def prepare(weights, images, ids):
    model = make_model()

    def loss(params, state, batch, *, key, train):
        (pictures, texts, log_scale), state = model.apply(params, state, CLIPInputs(*batch), key=key, train=train)
        values = losses.info_nce(pictures, texts, jnp.minimum(log_scale, jnp.log(case.LARGEST_SCALE)))
        return jnp.mean(values), (state, {"loss": metrics.mean(values)})

    adamw = optax.adamw(case.RATE, weight_decay=case.DECAY, mask=decay_mask)
    optimizer = optax.chain(optax.clip_by_global_norm(case.CLIP), adamw)
    stacked = {half: stack_blocks(weights[half]) for half in ("image", "text")}
    params = jax.device_put(weights | stacked)
    state = TrainState.create(params, optimizer.init(params), seed=0)
    data = jax.device_put((images, ids))
    return many_at_once(make_step(loss, optimizer), state, data, case)
