"""What `fit` and its steps do on a mesh of devices that a user might not expect, and what they refuse."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxnets import losses, metrics, models, nn
from jaxnets.backend import trace_for
from jaxnets.training import (
    compile_step,
    compute_in,
    data_parallel,
    device_mesh,
    fit,
    init_train_state,
    make_evaluate,
    make_step,
    pmap_step,
    replicate,
    supervised,
)
from jaxnets.training.placed import on_mesh_of
from jaxnets.training.programs import Program, evaluation
from tests.forms import needs_devices
from tests.training.problem import LOSS, OPTIMIZER, STEP, data, start

pytestmark = needs_devices(8)


def explicit_mesh():
    return jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))


def test_each_device_evaluates_its_part():
    mesh, examples = device_mesh(), data(517)
    evaluate = make_evaluate(LOSS, batch_size=64)
    train_state, on_mesh = on_mesh_of(data_parallel(STEP, mesh), start(), evaluate)
    alone, spread = Program(evaluation(evaluate)), Program(evaluation(on_mesh))
    whole, rows = start(), replicate(examples, mesh)
    expected = metrics.compute(alone(whole, examples, None))
    chex.assert_trees_all_close(metrics.compute(spread(train_state, rows, None)), expected, rtol=1e-6)
    work = [program.compiled().cost_analysis()["flops"] for program in (spread, alone)]
    assert work[0] < 0.25 * work[1]  # the 5 examples that cannot be divided are measured by all


@pytest.mark.parametrize("size", [3, 7, 8, 9, 64, 517])
def test_an_evaluation_on_a_mesh_counts_every_example_once(size):
    examples = data(size)
    evaluate = make_evaluate(LOSS, batch_size=20)
    train_state, on_mesh = on_mesh_of(data_parallel(STEP, device_mesh()), start(), evaluate)
    assert on_mesh is not evaluate
    actual = metrics.compute(jax.jit(on_mesh)(train_state, examples))
    chex.assert_trees_all_close(actual, metrics.compute(jax.jit(evaluate)(start(), examples)), rtol=1e-6)


def test_a_mesh_with_explicit_axes_is_made_automatic():
    settings = {"epochs": 2, "batch_size": 16, "evaluate": make_evaluate(LOSS), "validation": data(20, seed=1)}
    expected = fit(start(), STEP, data(), **settings)
    mesh = explicit_mesh()
    placed = jax.device_put(start(), NamedSharding(mesh, PartitionSpec()))
    for train_state in (replicate(start(), mesh), placed, start()):
        result = fit(train_state, data_parallel(STEP, mesh), data(), **settings)
        chex.assert_trees_all_close(
            jax.device_get(result.train_state), jax.device_get(expected.train_state), rtol=1e-4, atol=1e-5
        )
        assert result.metrics["validation"]["loss"] == pytest.approx(expected.metrics["validation"]["loss"], rel=1e-4)


def test_arrays_on_explicit_axes_are_refused_where_they_cannot_be_moved():
    mesh = explicit_mesh()
    train_state = jax.device_put(start(), NamedSharding(mesh, PartitionSpec()))
    with pytest.raises(ValueError, match=r"'0/step' lies on a mesh with explicit axes.*replicate\(train_state, mesh\)"):
        compile_step(data_parallel(STEP, mesh))(train_state, data(16))
    ids = jax.device_put(jnp.arange(16) % 7, NamedSharding(mesh, PartitionSpec("data")))
    with pytest.raises(ValueError, match=r"embedding: rows cannot be looked up .* explicit axes .*AxisType.Auto"):
        jax.jit(nn.embedding)({"embedding": jnp.ones((7, 4))}, ids)


def test_fit_refuses_what_is_compiled_for_each_device():
    with pytest.raises(TypeError, match=r"not jax.jit, compile_step or pmap_step of it; .*data_parallel"):
        fit(start(), pmap_step(make_step(LOSS, OPTIMIZER, axis_name="data")), data(), epochs=1, batch_size=16)


def test_data_that_are_divided_stay_divided():
    mesh, seen = device_mesh(), []
    examples = data(64)
    divided = jax.device_put(examples, NamedSharding(mesh, PartitionSpec("data")))

    def note(event):
        held = [shard.data.nbytes for leaf in divided for shard in leaf.addressable_shards[:1]]
        others = [leaf for leaf in jax.live_arrays() if leaf.shape == (64, 4) and leaf.is_fully_replicated]
        seen.append((sum(held), len([leaf for leaf in others if len(leaf.sharding.device_set) == 8])))

    step = data_parallel(STEP, mesh)
    result = fit(replicate(start(), mesh), step, divided, epochs=2, batch_size=16, callbacks=[note])
    assert set(seen) == {(64 * 5 * 4 // 8, 0)}
    expected = fit(start(), STEP, examples, epochs=2, batch_size=16)
    chex.assert_trees_all_close(jax.device_get(result.train_state), expected.train_state, rtol=1e-4, atol=1e-5)


def test_data_on_other_devices_than_the_train_state_are_refused():
    divided = jax.device_put(data(64), NamedSharding(device_mesh(), PartitionSpec("data")))
    with pytest.raises(ValueError, match=r"data are divided over 8 devices, but the train state lies on 1"):
        fit(start(), STEP, divided, epochs=1, batch_size=16)


@pytest.mark.parametrize("devices", [1, 8])
def test_the_mesh_decides_on_attention_by_a_kernel_for_one_device(devices):
    config = models.GPTConfig(vocabulary=16, context=1024, layers=1, heads=1, features=64)
    model = compute_in(jnp.bfloat16, models.gpt(config))
    step = make_step(supervised(model, losses.cross_entropy), OPTIMIZER)
    placed = data_parallel(step, device_mesh(jax.devices()[:devices]))
    ids = np.zeros((8, 1024), np.int32)
    train_state = jax.eval_shape(lambda: init_train_state(model, OPTIMIZER, 0))
    with trace_for("tpu"):
        program = str(jax.make_jaxpr(placed)(train_state, (ids, ids)))
    assert ("pallas_call" in program) == (devices == 1)
