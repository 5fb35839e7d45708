"""jaxnets: the experiment's program, all steps of a run in one call, and the test in another."""

import functools
import itertools

import jax
import jax.numpy as jnp

from benchmarks.gpu import speedrun as case
from benchmarks.last_loss import last_loss
from benchmarks.peer import Peer
from experiments import cifar_speedrun as recipe
from jaxnets import losses
from jaxnets.training import TrainState, compile_step, compute_in, make_step, supervised


def prepare(weights, images, labels, test_images, test_labels):
    network = compute_in(jnp.bfloat16, case.model()) if case.CONFIG.bfloat16 else case.model()
    optimizer = recipe.make_optimizer(case.CONFIG, case.STEPS, case.PER_EPOCH)
    smoothed = functools.partial(losses.cross_entropy, label_smoothing=case.CONFIG.label_smoothing)
    step = make_step(supervised(network, smoothed), optimizer)
    data, test = jax.device_put(((images, labels), (test_images, test_labels)))
    train, seeds = compile_step(recipe.make_training(case.CONFIG, step, case.STEPS)), itertools.count()

    @jax.jit
    def accuracy(params, state, images, labels):
        views = images.reshape((-1, case.VIEWED, *images.shape[1:]))
        logits = jax.lax.map(lambda x: recipe.predict(network, params, state, x), views)
        return jnp.mean(logits.reshape((len(labels), -1)).argmax(-1) == labels)

    @jax.jit
    def initialize(seed):
        params, state = case.first_weights(seed, data[0])
        return TrainState.create(params, optimizer.init(params), seed=seed, state=state)

    def run(steps):
        trained, _ = train(initialize(next(seeds)), data)
        return float(accuracy(trained.params, trained.state, *test))

    def results():
        one = jax.jit(step)
        batch = tuple(part[: case.CONFIG.batch_size] for part in data)
        state, found = initialize(0), []
        for _ in range(2):
            state, measured = one(state, batch)
            found.append(last_loss(measured, state))
        return [found[0], found[1] - found[0]]

    return Peer(run, results=results)
