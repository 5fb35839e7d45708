"""jaxnets: the library's model and the default dispatch of `fit`, many steps on batches drawn on the device."""

import jax
import optax

from benchmarks import mnist_cnn as case
from benchmarks.last_loss import last_loss
from benchmarks.peer import Peer
from jaxnets import losses
from jaxnets.models import mnist_cnn
from jaxnets.training import compile_step, init_train_state, make_step, scan_data, supervised

MODEL, OPTIMIZER = mnist_cnn(), optax.adam(1e-3)
LOSS = supervised(MODEL, losses.cross_entropy)


def loss(params, state, batch, *, key, train):
    return LOSS(params, state, batch, key=key, train=train and case.DROPOUT)


def start(weights, images, labels):
    state = init_train_state(MODEL, OPTIMIZER, seed=0)
    params = {
        name: {part: jax.device_put(weights[f"{name}/{part}"]) for part in layer}
        for name, layer in state.params.items()
    }
    train = scan_data(make_step(loss, OPTIMIZER), steps=case.STEPS, batch_size=case.BATCH)
    return state._replace(params=params), train, jax.device_put((images, labels)), case.STEPS


def prepare(weights, images, labels):
    state, train, data, _ = start(weights, images, labels)
    run_steps = compile_step(train)

    def run(steps):
        nonlocal state
        for _ in range(steps // case.STEPS):
            state, measured = run_steps(state, data)
        return last_loss(measured, state)

    return Peer(run)
