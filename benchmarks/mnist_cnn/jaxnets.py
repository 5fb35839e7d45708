"""jaxnets: the model of the zoo and the loop's own dispatch, many steps on batches drawn on the device."""

import jax
import optax

from benchmarks import mnist_cnn as case
from benchmarks.peer import Peer
from jaxnets import losses
from jaxnets.models import mnist_cnn
from jaxnets.train import compile_step, init_train_state, make_step, scan_data, supervised


def prepare(weights, images, labels):
    model, optimizer = mnist_cnn(), optax.adam(1e-3)
    loss = supervised(model, losses.cross_entropy)
    state = init_train_state(model, optimizer, seed=0)
    params = {
        name: {part: jax.numpy.asarray(weights[f"{name}/{part}"]) for part in layer}
        for name, layer in state.params.items()
    }
    state = state._replace(params=params)
    first = images[: case.BATCH], labels[: case.BATCH]
    value, _ = loss(params, {}, jax.device_put(first), key=None, train=False)
    run_steps = compile_step(scan_data(make_step(loss, optimizer), steps=case.STEPS, batch_size=case.BATCH))
    data = jax.device_put((images, labels))

    def run(steps):
        nonlocal state
        for _ in range(steps // case.STEPS):
            state, _ = run_steps(state, data)
        jax.block_until_ready(state.params)

    return Peer(float(value), run)
