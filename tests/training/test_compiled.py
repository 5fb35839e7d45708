"""Every way to compile a step against the plain loop of single steps."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets import metrics
from jaxnets.training import batch_indices, compile_step, scan_data, scan_steps
from tests.training.problem import STEP, data, start

BATCH = 16
STEPS = 7  # more than two epochs of 50 // 16 steps
DATA = data()
# XLA fuses a step alone and a step inside a loop differently, so sums round differently: equal to a few float32 ulps,
# which Adam's division by the root of small second moments enlarges.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


def batches(seed):
    rows = batch_indices(jax.random.key(seed), 0, STEPS, 50, BATCH)
    return jax.tree.map(lambda a: a[rows], DATA)


@functools.cache
def single_steps(seed=0):
    step = jax.jit(STEP)
    train_state, stacked = start(seed), []
    for i in range(STEPS):
        train_state, measured = step(train_state, jax.tree.map(lambda a, i=i: a[i], batches(seed)))
        stacked.append(measured)
    return train_state, jax.tree.map(lambda *leaves: jnp.stack(leaves), *stacked)


def comparable(result):
    train_state, measured = result
    return train_state, metrics.compute(metrics.reduce(measured))


def assert_same(actual, expected):
    chex.assert_trees_all_close(comparable(actual), comparable(expected), **TOLERANCE)


class Traced:
    """The step, with a count of how often it was traced."""

    def __init__(self):
        self.traces = 0

    def __call__(self, train_state, batch):
        self.traces += 1
        return STEP(train_state, batch)


def test_a_step_compiled_with_donation():
    traced = Traced()
    step = compile_step(traced)
    train_state = start()
    for i in range(STEPS):
        train_state, _ = step(train_state, jax.tree.map(lambda a, i=i: a[i], batches(0)))
    assert traced.traces == 1
    chex.assert_trees_all_close(train_state.params, single_steps()[0].params, **TOLERANCE)


def test_donated_buffers_are_reused():
    train_state = start()
    compile_step(STEP)(train_state, jax.tree.map(lambda a: a[0], batches(0)))
    assert train_state.params["fc1"]["kernel"].is_deleted()


def test_scanned_batches():
    assert_same(compile_step(scan_steps(STEP))(start(), batches(0)), single_steps())


def test_scanned_data_set():
    run = compile_step(scan_data(STEP, steps=STEPS, batch_size=BATCH))
    assert_same(run(start(), DATA), single_steps())


def test_a_data_set_of_numpy_arrays_that_the_compiled_function_closes_over():
    on_host = jax.tree.map(np.asarray, DATA)
    run = scan_data(STEP, steps=STEPS, batch_size=BATCH)
    assert_same(jax.jit(lambda train_state: run(train_state, on_host))(start()), single_steps())


def test_how_steps_are_grouped_does_not_matter():
    whole = compile_step(scan_data(STEP, steps=6, batch_size=BATCH))(start(), DATA)[0]
    traced = Traced()
    two = compile_step(scan_data(traced, steps=2, batch_size=BATCH))
    parts, _ = two(start(), DATA)
    after_first_call = traced.traces
    for _ in range(2):
        parts, _ = two(parts, DATA)
    assert traced.traces == after_first_call
    chex.assert_trees_all_close(whole.params, parts.params, **TOLERANCE)


def test_a_network_for_each_seed_in_one_call():
    seeds = [0, 1, 2]
    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[start(seed) for seed in seeds])
    traced = Traced()
    run = compile_step(jax.vmap(scan_data(traced, steps=STEPS, batch_size=BATCH), in_axes=(0, None)))
    mapped = run(states, DATA)
    for i, seed in enumerate(seeds):
        assert_same(jax.tree.map(lambda a, i=i: a[i], mapped), single_steps(seed))
    after_first_call = traced.traces
    run(mapped[0], DATA)
    assert traced.traces == after_first_call


def test_the_same_program_gives_the_same_bits():
    run = compile_step(scan_data(STEP, steps=STEPS, batch_size=BATCH))
    first, second = run(start(), DATA), run(start(), DATA)
    chex.assert_trees_all_equal(first[0].params, second[0].params)


def test_zero_steps_are_refused():
    with pytest.raises(ValueError, match="steps must be an integer of at least 1, got 0"):
        scan_data(STEP, steps=0, batch_size=BATCH)


@pytest.mark.parametrize(("size", "batch_size"), [(50, 16), (50, 50), (48, 16), (5, 1)])
def test_an_epoch_visits_every_example_at_most_once(size, batch_size):
    per_epoch = size // batch_size
    rows = np.asarray(batch_indices(jax.random.key(0), 0, 3 * per_epoch, size, batch_size)).reshape(3, -1)
    for epoch in rows:
        assert len(set(epoch)) == per_epoch * batch_size
        assert set(epoch) <= set(range(size))
    if size > 5:
        assert len({tuple(epoch) for epoch in rows}) == 3


def test_the_batch_of_a_step_depends_on_seed_and_step_alone():
    key = jax.random.key(3)
    whole = batch_indices(key, 0, 10, 50, 16)
    for first, steps in [(0, 1), (0, 3), (2, 1), (2, 5), (3, 7), (5, 4), (9, 1)]:
        part = batch_indices(key, first, steps, 50, 16)
        np.testing.assert_array_equal(part, whole[first : first + steps])
