"""jaxnets: nn.lstm, ten steps a dispatch."""

import jax
import optax

from benchmarks.gpu import lstm as case
from benchmarks.gpu.training import train_jaxnets
from benchmarks.lstm.jaxnets import loss
from benchmarks.peer import Peer
from jaxnets.train import TrainState, make_step


def prepare(weights, x, y):
    params, data = jax.device_put(weights), jax.device_put((x, y))
    params = {name if name == "bias" else f"{name}_kernel": array for name, array in params.items()}
    value, _ = loss(params, {}, data, key=None, train=False)
    optimizer = optax.sgd(case.RATE)
    start = TrainState.create(params, optimizer.init(params), seed=0)
    return Peer(float(value), train_jaxnets(make_step(loss, optimizer), start, data, case.BATCH, case.STEPS))
