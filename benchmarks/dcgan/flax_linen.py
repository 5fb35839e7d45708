"""Flax Linen: its SpectralNorm, two of its TrainStates, both updates in one jax.jit with donated state."""

import functools

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict

from benchmarks import dcgan as case
from benchmarks.peer import Peer, cycle
from benchmarks.resnet20.flax_linen import TrainState

WINDOW, STRIDES = (4, 4), (2, 2)


class Generator(nn.Module):
    @nn.compact
    def __call__(self, noise):
        enlarge = functools.partial(nn.ConvTranspose, kernel_size=WINDOW, strides=STRIDES, transpose_kernel=True)
        norm = functools.partial(nn.BatchNorm, use_running_average=False, momentum=0.9)
        x = nn.Dense(7 * 7 * 2 * case.WIDTH, use_bias=False, name="fc")(noise)
        x = nn.relu(norm(name="norm")(x.reshape(-1, 7, 7, 2 * case.WIDTH)))
        x = enlarge(case.WIDTH, use_bias=False, name="conv_0")(x)
        x = nn.relu(norm(name="norm_0")(x))
        return jnp.tanh(enlarge(1, name="out")(x))


class Discriminator(nn.Module):
    @nn.compact
    def __call__(self, x):
        for i in range(2):
            conv = nn.Conv(case.WIDTH * 2**i, WINDOW, STRIDES, padding=1, name=f"conv_{i}")
            x = nn.leaky_relu(nn.SpectralNorm(conv)(x, update_stats=True), 0.2)
        out = nn.Conv(1, (7, 7), padding="VALID", name="out")
        return nn.SpectralNorm(out)(x, update_stats=True).reshape(-1)


def run_network(state, params, *inputs):
    """The results for each of the inputs, one after the other, and the statistics after them."""
    results, stats = [], state.batch_stats
    for x in inputs:
        y, updates = state.apply_fn({"params": params, "batch_stats": stats}, x, mutable=["batch_stats"])
        results.append(y)
        stats = updates["batch_stats"]
    return results, stats


@functools.partial(jax.jit, donate_argnums=(0, 1))
def train_step(d, g, images, d_noise, g_noise):
    (fakes,), stats = run_network(g, g.params, d_noise)
    g = g.replace(batch_stats=stats)

    def d_loss(params):
        (real, fake), stats = run_network(d, params, images, fakes)
        return jnp.mean(nn.relu(1 - real) + nn.relu(1 + fake)), stats

    (d_value, stats), grads = jax.value_and_grad(d_loss, has_aux=True)(d.params)
    d = d.apply_gradients(grads=grads, batch_stats=stats)

    def g_loss(params):
        (fakes,), g_stats = run_network(g, params, g_noise)
        (scores,), d_stats = run_network(d, d.params, fakes)
        return -jnp.mean(scores), (d_stats, g_stats)

    (g_value, (d_stats, g_stats)), grads = jax.value_and_grad(g_loss, has_aux=True)(g.params)
    g = g.apply_gradients(grads=grads, batch_stats=g_stats)
    return d.replace(batch_stats=d_stats), g, d_value + g_value


def arrays(weights, network):
    """The arrays of one network by path; `blocks/0/conv` is `conv_0` here."""
    found = {}
    for path, array in weights.items():
        first, *parts = path.split("/")
        if first == network:
            layer = parts if parts[0] != "blocks" else [f"{parts[2]}_{parts[1]}", *parts[3:]]
            found[tuple(layer)] = jnp.asarray(array)
    return found


def start(model, arrays, x):
    """The train state; where the statistics have a `u`, it is that of `arrays`."""
    stats = flatten_dict(jax.jit(model.init)(jax.random.key(0), x)["batch_stats"])
    for path in stats:
        if path[-1].endswith("/u"):
            layer = path[-1].split("/")[0]
            stats[path] = arrays[layer, "u"][None]
    params = unflatten_dict({path: array for path, array in arrays.items() if path[-1] != "u"})
    settings = {"tx": optax.adam(case.RATE, b1=case.BETA), "batch_stats": unflatten_dict(stats)}
    return TrainState.create(apply_fn=model.apply, params=params, **settings)


def prepare(weights, *data):
    batches = jax.device_put(case.batches(*data))
    d = start(Discriminator(), arrays(weights, "d"), batches[0][0])
    g = start(Generator(), arrays(weights, "g"), batches[0][1])
    advance = cycle(batches)

    def run(steps):
        nonlocal d, g
        for _ in range(steps):
            d, g, value = train_step(d, g, *advance())
        return float(value)

    return Peer(run)
