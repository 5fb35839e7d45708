"""Every way to run a step on eight (virtual) devices, many seeds or many settings gives what one device gives.

Tolerance: devices add up their parts of the batch first, so sums are rounded in another order; a few units of float32's
last place grow over the steps to the 1e-5 allowed here. Where the program of each network is the same, bits are equal.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import losses, make_model, metrics, models, nn, subkey
from jaxnets.training import (
    TrainState,
    compile_step,
    data_parallel,
    device_mesh,
    fit,
    init_train_state,
    make_evaluate,
    make_step,
    pmap_step,
    replicate,
    scan_data,
    scan_steps,
    supervised,
    synchronized,
)
from tests.forms import needs_devices
from tests.oracles import permissive_optimizer
from tests.training.problem import OPTIMIZER, data

BATCHES = [data(32, seed=seed) for seed in range(5)]
STACKED = jax.tree.map(lambda *leaves: jnp.stack(leaves), *BATCHES)


def network(rate, axis_name=None):
    def apply(params, state, x, *, key=None, train):
        x = nn.linear(params["fc1"], x)
        x, bn = nn.batch_norm(params["bn"], state["bn"], x, train=train, axis_name=axis_name)
        x = nn.dropout(jax.nn.relu(x), rate, key=subkey(key, "drop"), train=train)
        return nn.linear(params["fc2"], x), {"bn": bn}

    return make_model(
        {"fc1": nn.linear_spec(4, 8, bias=False), "bn": nn.batch_norm_spec(8), "fc2": nn.linear_spec(8, 3)}, apply
    )


def step_of(rate=0.0, axis_name=None, model_axis=None):
    loss = supervised(network(rate, model_axis), losses.cross_entropy, {"accuracy": metrics.accuracy})
    return make_step(loss, OPTIMIZER, axis_name=axis_name)


def start(seed=0):
    return init_train_state(network(0.0), OPTIMIZER, seed)


def one_device(step, batches=BATCHES):
    compiled, train_state, measured = compile_step(step), start(), []
    for batch in batches:
        train_state, numbers = compiled(train_state, batch)
        measured.append(metrics.compute(numbers))
    return train_state, measured


def assert_same(result, expected):
    chex.assert_trees_all_close(result[0], expected[0], rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(result[1], expected[1], rtol=1e-4, atol=1e-5)


def run(step, train_state, batches=BATCHES):
    measured = []
    for batch in batches:
        train_state, numbers = step(train_state, batch)
        measured.append(metrics.compute(numbers))
    return jax.device_get((train_state, measured))


@needs_devices(8)
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_jit_over_a_mesh_is_one_device_with_batch_norm_and_dropout_over_the_whole_batch(rate):
    mesh = device_mesh()
    assert mesh.size == 8
    compiled = compile_step(data_parallel(step_of(rate), mesh))
    assert_same(run(compiled, replicate(start(), mesh)), jax.device_get(one_device(step_of(rate))))
    assert compiled._cache_size() == 1


def test_pmap_is_one_device_with_batch_norm_over_the_whole_batch():
    traces = []
    step = step_of(axis_name="data", model_axis="data")

    def counted(*args):
        traces.append(args)
        return step(*args)

    assert_same(run(pmap_step(counted), start()), jax.device_get(one_device(step_of())))
    assert len(traces) == 1


def test_a_network_of_the_zoo_has_batch_statistics_of_the_whole_batch_under_pmap():
    model, optimizer = models.cifar_resnet(models.CifarResNetConfig(depth=8)), permissive_optimizer(optax.sgd(0.1))
    generator = np.random.default_rng(0)
    batch = generator.normal(size=(16, 8, 8, 3)).astype(np.float32), np.arange(16, dtype=np.int32) % 10
    loss = supervised(synchronized(model, "data"), losses.cross_entropy)
    mapped = pmap_step(make_step(loss, optimizer, axis_name="data"))
    after, _ = mapped(init_train_state(model, optimizer, 0), batch)
    plain = compile_step(make_step(supervised(model, losses.cross_entropy), optimizer))
    expected, _ = plain(init_train_state(model, optimizer, 0), batch)
    chex.assert_trees_all_close(jax.device_get(after), jax.device_get(expected), rtol=1e-3, atol=1e-5)


def test_pmap_of_many_steps_in_one_dispatch():
    many = pmap_step(scan_steps(step_of(axis_name="data", model_axis="data")), batch_axis=1)
    train_state, stacked = many(start(), STACKED)
    expected, measured = one_device(step_of())
    chex.assert_trees_all_close(train_state, expected, rtol=1e-4, atol=1e-5)
    losses_ = jax.vmap(metrics.compute)(stacked)["loss"]
    np.testing.assert_allclose(losses_, [numbers["loss"] for numbers in measured], rtol=1e-4)


@needs_devices(8)
def test_pmap_draws_another_mask_on_each_device():
    def loss(params, state, batch, *, key, train):
        noise = jax.random.uniform(key, ())
        return params["w"] * 0.0, (state, {"noise": noise, "square": noise**2})

    optimizer = optax.sgd(0.1)
    train_state = TrainState.create({"w": jnp.zeros(())}, optimizer.init({"w": jnp.zeros(())}), seed=0)
    _, measured = pmap_step(make_step(loss, optimizer, axis_name="data"))(train_state, jnp.zeros(8))
    numbers = metrics.compute(measured)
    assert float(numbers["square"] - numbers["noise"] ** 2) > 1e-3  # the variance over devices


def test_without_the_axis_batch_norm_sees_one_devices_part():
    # Eight parts of four examples: the mean of their statistics, as flax's sync_batch_stats and PyTorch's DDP average.
    mapped, _ = pmap_step(step_of(axis_name="data"))(start(), BATCHES[0])
    plain = compile_step(step_of())
    parts = [jax.tree.map(lambda leaf, i=i: leaf[4 * i : 4 * i + 4], BATCHES[0]) for i in range(8)]
    states = [plain(start(), part)[0].state for part in parts]
    expected = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *states)
    chex.assert_trees_all_close(mapped.state["bn"]["mean"], expected["bn"]["mean"], rtol=1e-5, atol=1e-6)


def test_fit_on_a_mesh_is_fit_on_one_device():
    mesh, examples = device_mesh(), data(100)
    settings = {
        "epochs": 3,
        "batch_size": 16,
        "evaluate": make_evaluate(supervised(network(0.5), losses.cross_entropy)),
    }
    expected = fit(start(), step_of(0.5), examples, validation=data(30, seed=9), **settings)
    parallel = data_parallel(step_of(0.5), mesh)
    result = fit(replicate(start(), mesh), parallel, examples, validation=data(30, seed=9), **settings)
    chex.assert_trees_all_close(
        jax.device_get(result.train_state), jax.device_get(expected.train_state), rtol=1e-4, atol=1e-5
    )
    assert result.metrics["validation"]["loss"] == pytest.approx(expected.metrics["validation"]["loss"], rel=1e-4)


@needs_devices(8)
@pytest.mark.parametrize("make", [lambda step: data_parallel(step, device_mesh()), pmap_step])
def test_a_batch_that_cannot_be_cut_is_refused(make):
    with pytest.raises(ValueError, match=r"cut into 8 equal parts, one a device; got an array \[30, 4\]"):
        make(step_of())(start(), data(30))


def test_64_seeds_in_one_call_are_64_single_runs():
    examples, seeds = data(50), jnp.arange(64, dtype=jnp.uint32)
    model = network(0.2)
    many = jax.vmap(lambda seed: init_train_state(model, OPTIMIZER, seed))(seeds)
    train = scan_data(step_of(0.2), steps=9, batch_size=16)
    together, stacked = compile_step(jax.vmap(train, in_axes=(0, None)))(many, examples)
    alone = compile_step(train)
    for i in range(64):
        single, numbers = alone(init_train_state(model, OPTIMIZER, i), examples)
        mine = jax.tree.map(lambda leaf, i=i: leaf[i], (together, stacked))
        chex.assert_trees_all_close(mine[0], single, rtol=2e-4, atol=2e-5)
        chex.assert_trees_all_close(
            jax.vmap(metrics.compute)(mine[1])["loss"], jax.vmap(metrics.compute)(numbers)["loss"], rtol=2e-4, atol=1e-5
        )
    assert alone._cache_size() == 1


@pytest.mark.slow
def test_64_learning_rates_in_one_call_are_64_single_runs():
    examples, rates = data(50), np.geomspace(1e-3, 1.0, 64).astype(np.float32)
    loss = supervised(network(0.0), losses.cross_entropy)
    injected = permissive_optimizer(optax.inject_hyperparams(optax.adam)(learning_rate=0.0))
    initial = init_train_state(network(0.0), injected, 0)

    def with_rate(rate):
        hyperparams = {**initial.opt_state.hyperparams, "learning_rate": rate}
        return initial._replace(opt_state=initial.opt_state._replace(hyperparams=hyperparams))

    train = scan_data(make_step(loss, injected), steps=9, batch_size=16)
    together, _ = compile_step(jax.vmap(train, in_axes=(0, None)))(jax.vmap(with_rate)(jnp.asarray(rates)), examples)
    for i in (0, 31, 63):  # each is a program of its own
        optimizer = permissive_optimizer(optax.adam(float(rates[i])))
        alone = compile_step(scan_data(make_step(loss, optimizer), steps=9, batch_size=16))
        single, _ = alone(init_train_state(network(0.0), optimizer, 0), examples)
        mine = jax.tree.map(lambda leaf, i=i: leaf[i], together.params)
        chex.assert_trees_all_close(mine, single.params, rtol=1e-3, atol=1e-4)
