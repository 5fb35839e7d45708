"""jaxnets: the library's model in bfloat16, ten steps per dispatch."""

import jax
import jax.numpy as jnp
import optax

from benchmarks.gpu import resnet50 as case
from benchmarks.gpu.training import train_jaxnets
from benchmarks.peer import Peer
from jaxnets import losses, models
from jaxnets.training import TrainState, compute_in, make_step, supervised


def prepare(weights, images, labels):
    model = compute_in(jnp.bfloat16, models.resnet(models.ResNetConfig(case.DEPTH, case.CLASSES)))
    loss, optimizer = supervised(model, losses.cross_entropy), optax.sgd(case.RATE, momentum=case.MOMENTUM)
    params, state = jax.device_put(weights)
    data = jax.device_put((jnp.asarray(images, jnp.bfloat16), jnp.asarray(labels)))
    start = TrainState.create(params, optimizer.init(params), state=state, seed=0)
    return Peer(train_jaxnets(make_step(loss, optimizer), start, data, case.BATCH, case.STEPS))
