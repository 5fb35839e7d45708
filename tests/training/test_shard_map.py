"""`make_step(axis_name=...)` under `jax.shard_map`, with and without JAX's check of what varies, against one device."""

import chex
import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from jaxnets import losses, make_model, metrics, nn
from jaxnets.training import device_mesh, init_train_state, make_step, replicate, supervised
from tests.forms import needs_devices
from tests.oracles import permissive_optimizer
from tests.training.problem import data

OPTIMIZER = permissive_optimizer(optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1, momentum=0.9)))


def network(axis_name=None):
    def apply(params, state, x, *, key=None, train):
        x = nn.linear(params["fc1"], x)
        x, bn = nn.batch_norm(params["bn"], state["bn"], x, train=train, axis_name=axis_name)
        return nn.linear(params["fc2"], jax.nn.relu(x)), {"bn": bn}

    return make_model({"fc1": nn.linear_spec(4, 8), "bn": nn.batch_norm_spec(8), "fc2": nn.linear_spec(8, 3)}, apply)


def step_of(axis_name=None, **settings):
    loss = supervised(network(axis_name), losses.cross_entropy, {"accuracy": metrics.accuracy})
    return make_step(loss, OPTIMIZER, axis_name=axis_name, **settings)


def batch(weighted):
    x, y = data(64)
    return (x, y, (np.arange(64) % 7).astype(np.float32)) if weighted else (x, y)


@needs_devices(8)
@pytest.mark.parametrize("check_vma", [False, True])
@pytest.mark.parametrize("settings", [{}, {"skip_nonfinite": 3}])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_step_under_shard_map_is_that_of_one_device(check_vma, settings, weighted):
    mesh, rows, start = device_mesh(), batch(weighted), init_train_state(network(), OPTIMIZER, 0)
    specs = PartitionSpec(), PartitionSpec("data")
    mapped = jax.shard_map(
        step_of("data", **settings), mesh=mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=check_vma
    )
    after, measured = jax.jit(mapped)(replicate(start, mesh), rows)
    expected, numbers = jax.jit(step_of(**settings))(start, rows)
    chex.assert_trees_all_close(jax.device_get(after), expected, rtol=1e-5, atol=1e-6)
    chex.assert_trees_all_close(metrics.compute(measured), metrics.compute(numbers), rtol=1e-5)


@needs_devices(8)
def test_parts_of_a_batch_are_accumulated_under_shard_map_as_under_pmap():
    mesh, rows, start = device_mesh(), batch(weighted=True), init_train_state(network(), OPTIMIZER, 0)
    step = step_of("data", accumulate=2)
    results = []
    for check_vma in (False, True):
        specs = PartitionSpec(), PartitionSpec("data")
        mapped = jax.shard_map(step, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(), check_vma=check_vma)
        results.append(jax.device_get(jax.jit(mapped)(replicate(start, mesh), rows)))
    cut = jax.tree.map(lambda leaf: leaf.reshape(8, 8, *leaf.shape[1:]), rows)
    mapped = jax.pmap(step, "data", in_axes=(None, 0), out_axes=(None, None))
    expected, numbers = jax.device_get(mapped(start, cut))
    for after, measured in results:
        chex.assert_trees_all_close(after, expected, rtol=1e-5, atol=1e-6)
        chex.assert_trees_all_close(metrics.compute(measured), metrics.compute(numbers), rtol=1e-5)
