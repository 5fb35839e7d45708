"""jaxnets: `python -m benchmarks.to_result.mnist_jaxnets SEED` prints the test accuracy."""

import sys

import jax
import optax

from benchmarks.to_result import MNIST
from jaxnets import losses, make_model, metrics, nn
from jaxnets.data import mnist
from jaxnets.training import compile_step, init_train_state, make_evaluate, make_step, scan_data, supervised

FIRST, SECOND = MNIST["channels"]
SPEC = {
    "conv1": nn.conv_spec(1, FIRST, (5, 5)),
    "conv2": nn.conv_spec(FIRST, SECOND, (5, 5)),
    "fc": nn.linear_spec(4 * 4 * SECOND, 10),
}


def apply(params, state, x, *, key=None, train):
    x = nn.max_pool(jax.nn.relu(nn.conv(params["conv1"], x, padding="VALID")), (2, 2))
    x = nn.max_pool(jax.nn.relu(nn.conv(params["conv2"], x, padding="VALID")), (2, 2))
    return nn.linear(params["fc"], x.reshape(len(x), -1)), state


def main(seed, data=None):
    train, test = data or (lambda found: (found.train, found.test))(mnist(validation=0))
    steps = MNIST["epochs"] * len(train[0]) // MNIST["batch"]
    rate = optax.linear_onecycle_schedule(steps, MNIST["rate"], MNIST["warm_up"], 1.0)
    model, optimizer = make_model(SPEC, apply), optax.adam(rate)
    loss = supervised(model, losses.cross_entropy, metrics={"accuracy": metrics.accuracy})
    state = init_train_state(model, optimizer, seed)
    run = compile_step(scan_data(make_step(loss, optimizer), steps=steps, batch_size=MNIST["batch"]))
    state, _ = run(state, jax.device_put(train))
    return float(make_evaluate(loss, batch_size=500)(state, test)["accuracy"].compute())


if __name__ == "__main__":
    print(main(int(sys.argv[1])))
