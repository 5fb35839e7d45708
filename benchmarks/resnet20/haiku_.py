"""Haiku: hk.transform_with_state, jax.jit with donated state."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp
import optax

from benchmarks import resnet20 as case
from benchmarks.peer import Peer, cycle


class ConvNorm(hk.Module):
    def __init__(self, channels, stride=1, *, name):
        super().__init__(name)
        self.channels, self.stride = channels, stride

    def __call__(self, x, train):
        x = hk.Conv2D(self.channels, 3, self.stride, padding=[(1, 1)] * 2, with_bias=False, name="conv")(x)
        return hk.BatchNorm(True, True, decay_rate=0.9, name="norm")(x, train)


class Block(hk.Module):
    def __init__(self, channels, stride, *, name):
        super().__init__(name)
        self.channels, self.stride = channels, stride

    def __call__(self, x, train):
        y = jax.nn.relu(ConvNorm(self.channels, self.stride, name="conv1")(x, train))
        y = ConvNorm(self.channels, name="conv2")(y, train)
        missing = (self.channels - x.shape[-1]) // 2
        shortcut = jnp.pad(x[:, :: self.stride, :: self.stride], [(0, 0)] * 3 + [(missing, missing)])
        return jax.nn.relu(y + shortcut)


def forward(x, train):
    x = jax.nn.relu(ConvNorm(case.WIDTH, name="stem")(x, train))
    for i, (channels, stride) in enumerate(case.BLOCKS):
        x = Block(channels, stride, name=f"blocks_{i}")(x, train)
    return hk.Linear(10, name="fc")(x.mean((1, 2)))


def load(params, state, weights):
    for path, array in weights.items():
        layer, part = path.replace("blocks/", "blocks_").rsplit("/", 1)
        name = {"kernel": "w", "scale": "scale", "bias": "offset" if "norm" in layer else "b"}[part]
        params[layer][name] = jnp.asarray(array).reshape(params[layer][name].shape)
    for name, statistic in state.items():  # Haiku's initial values: means 0, variances 1
        statistic["average"] = jnp.full_like(statistic["average"], name.endswith("var_ema"))


def train(case, forward, weights, images, labels):
    """The program after the network."""
    network = hk.without_apply_rng(hk.transform_with_state(forward))
    optimizer = optax.sgd(case.RATE, case.MOMENTUM)

    def loss_fn(params, state, images, labels, train):
        logits, state = network.apply(params, state, images, train)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), state

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2))
    def train_step(params, state, opt_state, images, labels):
        (loss, state), grads = jax.value_and_grad(loss_fn, has_aux=True)(params, state, images, labels, True)
        updates, opt_state = optimizer.update(grads, opt_state)
        return loss, optax.apply_updates(params, updates), state, opt_state

    batches = jax.device_put(case.batches(images, labels))
    params, state = network.init(jax.random.key(0), batches[0][0], True)
    load(params, state, weights)
    states = params, state, optimizer.init(params)
    advance = cycle(batches)

    def run(steps):
        nonlocal states
        for _ in range(steps):
            value, *states = train_step(*states, *advance())
        return float(value)

    return Peer(run)


def prepare(weights, images, labels):
    return train(case, forward, weights, images, labels)
