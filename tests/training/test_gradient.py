"""Weighted means and sums in low precision: parts of a batch, and devices, give what the whole batch gives."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import metrics
from jaxnets.training import (
    TrainState,
    compile_step,
    data_parallel,
    device_mesh,
    make_evaluate,
    make_step,
    pmap_step,
    replicate,
)
from jaxnets.training.gradient import loss_gradient
from tests.oracles import permissive_optimizer

# The first half weighs four and loses 1, the second weighs one and loses 3: (4 + 3) / 5 = 1.4, not (1 + 3) / 2.
VALUES = jnp.array([1.0, 1.0, 1.0, 1.0, 3.0, -50.0, 20.0, 7.0])
WEIGHTS = jnp.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0])


def weighted(params, state, batch, *, key, train):
    values, weights = batch
    mean = metrics.mean(params["w"] * values, weights=weights)
    return mean, (state, {"loss": mean})


OPTIMIZER = permissive_optimizer(optax.sgd(1.0))


def initial(dtype=jnp.float32, value=1.0):
    params = {"w": jnp.full((), value, dtype)}
    return TrainState.create(params, OPTIMIZER.init(params), seed=0)


WAYS = {
    "whole": lambda: compile_step(make_step(weighted, OPTIMIZER)),
    "accumulate": lambda: compile_step(make_step(weighted, OPTIMIZER, accumulate=2)),
    "eighths": lambda: compile_step(make_step(weighted, OPTIMIZER, accumulate=8)),
    "pmap": lambda: pmap_step(make_step(weighted, OPTIMIZER, axis_name="data"), devices=jax.devices()[:2]),
    "pmap of parts": lambda: pmap_step(
        make_step(weighted, OPTIMIZER, axis_name="data", accumulate=2), devices=jax.devices()[:2]
    ),
    "mesh": lambda: compile_step(data_parallel(make_step(weighted, OPTIMIZER), device_mesh(jax.devices()[:2]))),
}


@pytest.mark.parametrize("way", WAYS)
def test_parts_count_by_their_weight(way):
    train_state = initial()
    if way == "mesh":
        train_state = replicate(train_state, device_mesh(jax.devices()[:2]))
    after, measured = WAYS[way]()(train_state, (VALUES, WEIGHTS))
    np.testing.assert_allclose(after.params["w"], 1 - 1.4, rtol=1e-6)
    np.testing.assert_allclose(measured["loss"].compute(), 1.4, rtol=1e-6)


@pytest.mark.parametrize("batch_size", [2, 3, 4, 100])
def test_evaluation_counts_by_weight_with_an_incomplete_batch_too(batch_size):
    measured = make_evaluate(weighted, batch_size=batch_size)(initial(), (VALUES, WEIGHTS))
    np.testing.assert_allclose(measured["loss"].compute(), 1.4, rtol=1e-6)


def test_the_value_is_that_of_the_whole_batch():
    for accumulate in (1, 2, 4):
        gradient = loss_gradient(weighted, accumulate=accumulate)
        value, _, _, _ = gradient({"w": jnp.array(2.0)}, {}, (VALUES, WEIGHTS), key=None)
        np.testing.assert_allclose(value, 2.8, rtol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_without_weight_changes_nothing(accumulate):
    step = jax.jit(make_step(weighted, OPTIMIZER, accumulate=accumulate))
    after, measured = step(initial(), (VALUES, jnp.zeros(8)))
    assert float(after.params["w"]) == 1
    assert float(measured["loss"].weight.value()) == 0


def test_a_penalty_is_added_to_a_weighted_mean():
    def loss(params, state, batch, *, key, train):
        value, aux = weighted(params, state, batch, key=key, train=train)
        return value.plus(0.5 * params["w"] ** 2), aux

    for accumulate in (1, 2, 8):
        after, _ = jax.jit(make_step(loss, OPTIMIZER, accumulate=accumulate))(initial(), (VALUES, WEIGHTS))
        np.testing.assert_allclose(after.params["w"], 1 - 1.4 - 1, rtol=1e-6)


def plain(params, state, batch, *, key, train):
    return jnp.mean(params["w"].astype(jnp.float32) * batch), (state, {})


def masked(params, state, batch, *, key, train):
    return metrics.mean(params["w"].astype(jnp.float32) * batch, weights=jnp.ones_like(batch)), (state, {})


@pytest.mark.parametrize("loss", [plain, masked])
@pytest.mark.parametrize(
    ("dtype", "parts", "size"), [(jnp.bfloat16, 64, 1.0), (jnp.bfloat16, 1024, 1.0), (jnp.float16, 1024, 100.0)]
)
def test_parts_add_up_in_low_precision(loss, dtype, parts, size):
    """In bfloat16, 256 + 1 is 256; in float16, 1,024 gradients of 100 are infinite."""
    step = jax.jit(make_step(loss, OPTIMIZER, accumulate=parts))
    after, _ = step(initial(dtype, 0.0), jnp.full(parts, size))
    assert after.params["w"].dtype == dtype
    np.testing.assert_allclose(float(after.params["w"]), -size, rtol=0.01)


def test_the_loss_of_parts_adds_up_in_low_precision():
    def loss(params, state, batch, *, key, train):
        return jnp.mean(params["w"] * batch), (state, {})

    value, _, _, _ = loss_gradient(loss, accumulate=1024)(
        {"w": jnp.ones((), jnp.bfloat16)}, {}, jnp.ones(1024, jnp.bfloat16), key=None
    )
    assert value.dtype == jnp.float32
    assert float(value) == 1


def test_devices_add_up_in_low_precision():
    noise = np.random.default_rng(0).normal(0.1, 1, size=64).astype(np.float32)
    for loss in (plain, masked):
        run = pmap_step(make_step(loss, OPTIMIZER, axis_name="data", accumulate=8))
        after, _ = run(initial(jnp.bfloat16, 0.0), jnp.asarray(noise))
        np.testing.assert_allclose(float(after.params["w"]), -noise.mean(), rtol=0.01)


STATE = {"bn": {"mean": jnp.zeros(2)}}


@pytest.mark.parametrize(
    ("returned", "error", "message"),
    [
        (
            lambda state: jnp.zeros(()),
            TypeError,
            "vae: must return (value, (new_state, metrics)), got float32[]; write `return value, (state, {})`",
        ),
        (
            lambda state: (jnp.zeros(()), {"kl": 1}),
            TypeError,
            "vae: must return (value, (new_state, metrics)), got (float32[], a dict of ['kl']); write",
        ),
        (
            lambda state: (jnp.zeros(8), (state, {})),
            TypeError,
            "vae: its value must be one number, got float32[8]; write jnp.mean(values)",
        ),
        (
            lambda state: (jnp.zeros((), jnp.int32), (state, {})),
            TypeError,
            "vae: its value must be a floating-point number, got int32[]",
        ),
        (
            lambda state: (jnp.zeros(()), ({}, {})),
            ValueError,
            "vae: the state that it returns must be like the state that it was given, in structure, shapes and dtypes, "
            "but 'bn/mean' is missing",
        ),
    ],
)
def test_what_a_loss_returns_is_checked(returned, error, message):
    def vae(params, state, batch, *, key, train):
        return returned(state)

    train_state = initial()._replace(state=STATE)
    for run in (jax.jit(make_step(vae, OPTIMIZER)), make_step(vae, OPTIMIZER, accumulate=2), make_evaluate(vae)):
        with pytest.raises(error, match=re.escape(message)):
            run(train_state, jnp.ones(8))
