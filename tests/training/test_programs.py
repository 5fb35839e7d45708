"""The program of a dispatch: a traced number of steps, and the forms in which an update is taken or not."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.training import TrainState, batch_indices, fit, make_step, scan_data
from jaxnets.training.nonfinite import is_bad, start_watch
from jaxnets.training.programs import Program, run_steps
from jaxnets.training.step import _write_in_place, _written
from tests.oracles import permissive_optimizer
from tests.training.problem import STEP, data, start

DATA = data()
# The program of one step rounds sums differently than that of many; see test_compiled.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def five_steps():
    return Program(run_steps(STEP, functools.partial(scan_data, steps=5, batch_size=16)))


def by_hand(count):
    """Single steps on the batches that belong to them."""
    train_state, step = start(), jax.jit(STEP)
    for rows in batch_indices(train_state.key, 0, max(count, 1), 50, 16)[:count]:
        train_state, _ = step(train_state, jax.tree.map(lambda leaf, rows=rows: leaf[rows], DATA))
    return train_state


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_as_many_steps_are_taken_as_asked_for(five_steps, count):
    after, _, watch = five_steps(start(), DATA, np.int32(count), None)
    chex.assert_trees_all_close(after, by_hand(count), **TOLERANCE)
    assert not bool(is_bad(watch))


def test_how_steps_are_divided_into_dispatches_changes_no_bit(five_steps):
    whole, metrics, _ = five_steps(start(), DATA, np.int32(5), None)
    parts = start()
    for count in (2, 1, 2):
        parts, measured, _ = five_steps(parts, DATA, np.int32(count), None)
    chex.assert_trees_all_equal(parts, whole)
    chex.assert_trees_all_equal(
        jax.tree.map(lambda leaf: leaf[:2], measured), jax.tree.map(lambda leaf: leaf[3:], metrics)
    )


@pytest.mark.parametrize("steps_per_call", [1, 2, 4, 7, 50])
def test_the_steps_of_fit_are_traced_once_however_they_divide(steps_per_call):
    traces = []

    def step(train_state, batch):
        traces.append(train_state)
        return STEP(train_state, batch)

    settings = {"batch_size": 7, "steps_per_call": steps_per_call}  # 7 steps an epoch
    trained = fit(start(), step, DATA, epochs=2, **settings).train_state
    assert len(traces) == 1
    expected, _ = jax.jit(scan_data(STEP, steps=14, batch_size=7))(start(), DATA)
    chex.assert_trees_all_close(trained, expected, **TOLERANCE)


@pytest.mark.parametrize("take", [True, False])
def test_the_forms_of_an_update_are_equal(take):
    optimizer = permissive_optimizer(optax.adam(0.1))
    params = {"a": jnp.arange(3.0), "b": jnp.ones((2, 2))}
    gradients, opt_state = jax.tree.map(jnp.cos, params), optimizer.init(params)

    def update(gradients, params, opt_state):
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, updates

    def costly(gradients, params, opt_state):
        product = gradients["b"] @ gradients["b"] @ gradients["b"]  # so that it is not computed twice
        for _ in range(100):
            product = product @ product
        return update({**gradients, "b": gradients["b"] + 0 * product}, params, opt_state)

    old = gradients, params, opt_state
    expected = update(*old)[:2] if take else (params, opt_state)
    results = [
        jax.jit(lambda take: _write_in_place(update, take, *old))(take),
        jax.jit(lambda take: _written(update, take, update(*old)[:2], *old))(take),
        jax.jit(lambda take: _written(costly, take, update(*old)[:2], *old))(take),
    ]
    for result in results:
        chex.assert_trees_all_close(result, expected, rtol=1e-6)


def square(params, state, batch, *, key, train):
    return jnp.sum((params["w"] @ batch[0]) ** 2), (state, {})


def products(optimizer, *, watched):
    params = {"w": jnp.ones((8, 8))}
    initial = TrainState.create(params, optimizer.init(params), seed=0)
    initial = initial._replace(watch=start_watch(1)) if watched else initial
    compiled = jax.jit(make_step(square, optimizer)).lower(initial, jnp.ones((1, 8, 8))).compile()
    return compiled.as_text().count(" dot(")


def products_of_the_gradient(scale):
    def init(params):
        return {"moment": jax.tree.map(jnp.zeros_like, params)}

    def update(gradients, state, params=None):
        moment = jax.tree.map(jnp.add, state["moment"], gradients)
        orthogonal = moment
        for _ in range(8):
            orthogonal = jax.tree.map(lambda x: x @ (x.T @ x), orthogonal)
        return jax.tree.map(lambda x: -scale * x, orthogonal), {"moment": moment}

    return optax.GradientTransformation(init, update)


def test_the_products_of_an_optimizer_are_taken_once():
    optimizer = products_of_the_gradient(1e-3)
    plain = products(optimizer, watched=False)
    assert plain >= 16
    assert products(optimizer, watched=True) == plain
