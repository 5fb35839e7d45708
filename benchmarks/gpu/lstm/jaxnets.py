"""jaxnets: nn.lstm by default, a scan that supports all transformations, ten steps per dispatch."""

import functools

import jax
import optax

from benchmarks.gpu import lstm as case
from benchmarks.gpu.training import train_jaxnets
from benchmarks.lstm.jaxnets import loss as lstm_loss
from benchmarks.peer import Peer
from jaxnets.training import TrainState, make_step


def prepare(weights, x, y, implementation="scan"):
    loss = functools.partial(lstm_loss, implementation=implementation)
    params, data = jax.device_put(weights), jax.device_put((x, y))
    params = {name if name == "bias" else f"{name}_kernel": array for name, array in params.items()}
    optimizer = optax.sgd(case.RATE)
    start = TrainState.create(params, optimizer.init(params), seed=0)
    return Peer(train_jaxnets(make_step(loss, optimizer), start, data, case.BATCH, case.STEPS))
