"""jaxnets: the library's model in bfloat16, cuDNN attention where it is legal, ten steps per dispatch."""

import jax
import jax.numpy as jnp
import optax

from benchmarks.gpu import gpt2 as case
from benchmarks.gpu.training import train_jaxnets
from benchmarks.peer import Peer
from jaxnets import losses, models
from jaxnets.regularizers import decay_mask
from jaxnets.training import TrainState, compute_in, make_step, supervised


def prepare(weights, ids):
    model = compute_in(jnp.bfloat16, models.gpt(models.GPTConfig(case.VOCABULARY, case.CONTEXT, **case.SIZES)))
    loss = supervised(model, losses.cross_entropy)
    optimizer = optax.adamw(case.RATE, *case.BETAS, weight_decay=case.DECAY, mask=decay_mask)
    params, data = jax.device_put(weights), jax.device_put((ids[:, :-1], ids[:, 1:]))
    start = TrainState.create(params, optimizer.init(params), seed=0)
    return Peer(train_jaxnets(make_step(loss, optimizer), start, data, case.BATCH, case.STEPS))
