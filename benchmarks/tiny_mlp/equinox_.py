"""Equinox with eqx.filter_jit and eqx.filter_value_and_grad, as in its documentation."""

import equinox as eqx
import jax
import optax

from benchmarks import tiny_mlp as case
from benchmarks.peer import Peer, cycle

OPTIMIZER = optax.adam(1e-3)


class Net(eqx.Module):
    layers: list

    def __init__(self, weights):
        self.layers = []
        for i, (features_in, features_out) in enumerate(zip(case.SIZES[:-1], case.SIZES[1:], strict=True), start=1):
            layer = eqx.nn.Linear(features_in, features_out, key=jax.random.key(0))
            arrays = jax.numpy.asarray(weights[f"fc{i}/kernel"].T), jax.numpy.asarray(weights[f"fc{i}/bias"])
            self.layers.append(eqx.tree_at(lambda node: (node.weight, node.bias), layer, arrays))

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)[0]


def loss_fn(model, x, y):
    return optax.sigmoid_binary_cross_entropy(jax.vmap(model)(x), y).mean()


@eqx.filter_jit
def train_step(model, opt_state, x, y):
    loss, grads = eqx.filter_value_and_grad(loss_fn)(model, x, y)
    updates, opt_state = OPTIMIZER.update(grads, opt_state, eqx.filter(model, eqx.is_array))
    return eqx.apply_updates(model, updates), opt_state, loss


def prepare(weights, x, y):
    model = Net(weights)
    batches = jax.device_put(case.batches(x, y))
    opt_state = OPTIMIZER.init(eqx.filter(model, eqx.is_array))
    advance = cycle(batches)

    def run(steps):
        nonlocal model, opt_state
        for _ in range(steps):
            model, opt_state, value = train_step(model, opt_state, *advance())
        return float(value)

    return Peer(run)
