"""jaxnets: `python -m benchmarks.to_result.digits_jaxnets SEED` prints the test accuracy."""

import sys

import jax
import optax

from benchmarks.to_result import DIGITS
from jaxnets import losses, metrics
from jaxnets.data import digits
from jaxnets.models import small_cnn
from jaxnets.training import compile_step, init_train_state, make_evaluate, make_step, scan_data, supervised


def main(seed):
    data = digits(seed)
    steps = DIGITS["epochs"] * len(data.train[0]) // DIGITS["batch"]
    model, optimizer = small_cnn(), optax.adam(optax.cosine_decay_schedule(DIGITS["rate"], steps))
    loss = supervised(model, losses.cross_entropy, metrics={"accuracy": metrics.accuracy})
    state = init_train_state(model, optimizer, seed)
    run = compile_step(scan_data(make_step(loss, optimizer), steps=steps, batch_size=DIGITS["batch"]))
    state, _ = run(state, jax.device_put(data.train))
    return float(make_evaluate(loss, batch_size=359)(state, data.test)["accuracy"].compute())


if __name__ == "__main__":
    print(main(int(sys.argv[1])))
