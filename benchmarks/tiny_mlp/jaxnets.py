"""jaxnets: make_step compiled alone, one dispatch per step."""

import jax
import optax

from benchmarks import tiny_mlp as case
from benchmarks.last_loss import last_loss
from benchmarks.peer import Peer, cycle
from jaxnets import losses, make_model, nn
from jaxnets.training import compile_step, init_train_state, make_step, supervised

SPEC = {f"fc{i + 1}": nn.linear_spec(*case.SIZES[i : i + 2]) for i in range(3)}


def apply(params, state, x, *, key=None, train):
    x = jax.nn.relu(nn.linear(params["fc1"], x))
    x = jax.nn.relu(nn.linear(params["fc2"], x))
    return nn.linear(params["fc3"], x)[:, 0], state


def make_program():
    model, optimizer = make_model(SPEC, apply), optax.adam(1e-3)
    return model, optimizer, supervised(model, losses.binary_cross_entropy)


def start(weights):
    model, optimizer, loss = make_program()
    state = init_train_state(model, optimizer, seed=0)
    params = {n: {p: jax.numpy.asarray(weights[f"{n}/{p}"]) for p in ("kernel", "bias")} for n in SPEC}
    return make_step(loss, optimizer), state._replace(params=params)


def prepare(weights, x, y):
    step, state = start(weights)
    step = compile_step(step)
    advance = cycle(jax.device_put(case.batches(x, y)))

    def run(steps):
        nonlocal state
        for _ in range(steps):
            state, measured = step(state, advance())
        return last_loss(measured, state)

    return Peer(run)
