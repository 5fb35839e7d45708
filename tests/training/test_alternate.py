"""Networks that are trained in turns, against the loop that one writes by hand with optax."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import losses, make_model, metrics, nn, subkey
from jaxnets.sharding import FSDP, make_mesh, place
from jaxnets.training import (
    Checkpoints,
    NonFiniteError,
    Part,
    TrainState,
    alternate,
    alternate_state,
    batch_indices,
    compile_step,
    fit,
    make_evaluate,
    pmap_step,
    scan_data,
    use_ema,
    with_ema,
)
from jaxnets.tree import paths
from tests.forms import needs_devices
from tests.oracles import permissive_optimizer

NOISE, BATCH, CRITIC_UPDATES = 2, 24, 3


def generate(params, state, noise, *, key=None, train):
    x, bn = nn.batch_norm(params["bn"], state["bn"], nn.linear(params["fc1"], noise), train=train)
    return nn.linear(params["fc2"], jax.nn.relu(x)), {"bn": bn}


def discriminate(params, state, x, *, key=None, train):
    x = nn.dropout(jnp.tanh(nn.linear(params["fc1"], x)), 0.2, key=key, train=train)
    return nn.linear(params["fc2"], x)[:, 0], state


G = make_model({"fc1": nn.linear_spec(NOISE, 8), "bn": nn.batch_norm_spec(8), "fc2": nn.linear_spec(8, 2)}, generate)
D = make_model({"fc1": nn.linear_spec(2, 8), "fc2": nn.linear_spec(8, 1)}, discriminate)
MODELS = {"d": D, "g": G}


def fakes(params, state, batch, key, train):
    noise = jax.random.normal(subkey(key, "noise"), (len(batch), NOISE))
    return G.apply(params["g"], state["g"], noise, train=train)


def judge(params, state, x, key, name, train):
    return D.apply(params["d"], state["d"], x, key=subkey(key, name), train=train)[0]


def d_loss(params, state, batch, *, key, train):
    """The discriminator of the first GAN; the generator's statistics stay as they are."""
    made, _ = fakes(params, state, batch, key, train)
    real, fake = judge(params, state, batch, key, "real", train), judge(params, state, made, key, "fake", train)
    values = losses.binary_cross_entropy(real, jnp.ones_like(real))
    values = values + losses.binary_cross_entropy(fake, jnp.zeros_like(fake))
    return jnp.mean(values), (state, {"loss": metrics.mean(values)})


def g_loss(params, state, batch, *, key, train):
    made, new = fakes(params, state, batch, key, train)
    fake = judge(params, state, made, key, "fake", train)
    values = losses.binary_cross_entropy(fake, jnp.ones_like(fake))
    return jnp.mean(values), (state | {"g": new}, {"loss": metrics.mean(values)})


D_RULE, G_RULE = permissive_optimizer(optax.adam(1e-2)), permissive_optimizer(optax.sgd(0.05, momentum=0.9))
PARTS = {"d": Part(d_loss, D_RULE, updates=CRITIC_UPDATES), "g": Part(g_loss, with_ema(G_RULE, 0.9))}
STEP = alternate(PARTS)


def gaussians(size=96):
    """Points around (1, 2) with correlated coordinates."""
    noise = np.random.default_rng(0).normal(size=(size, 2))
    return (np.array([1.0, 2.0]) + noise @ np.array([[0.5, 0.3], [0.0, 0.4]])).astype(np.float32)


def initial(seed=5):
    return alternate_state(MODELS, PARTS, seed)


def by_hand(data, steps, seed=5):
    """The same training as one writes it with optax and nothing of `jaxnets.training` but the order of the examples."""
    run_key = jax.random.key(seed)
    params, state = {}, {}
    for name, model in MODELS.items():
        params[name], state[name] = model.init(subkey(subkey(run_key, "init"), name))
    d_state, g_state, average = D_RULE.init(params["d"]), G_RULE.init(params["g"]), params["g"]

    @jax.jit
    def update_d(params, state, d_state, batch, key):
        def loss(own):
            return d_loss({"d": own, "g": params["g"]}, state, batch, key=key, train=True)[0]

        value, gradients = jax.value_and_grad(loss)(params["d"])
        updates, d_state = D_RULE.update(gradients, d_state, params["d"])
        return {"d": optax.apply_updates(params["d"], updates), "g": params["g"]}, d_state, value

    @jax.jit
    def update_g(params, state, g_state, average, batch, key, n):
        def loss(own):
            value, (new, _) = g_loss({"d": params["d"], "g": own}, state, batch, key=key, train=True)
            return value, new

        (value, state), gradients = jax.value_and_grad(loss, has_aux=True)(params["g"])
        updates, g_state = G_RULE.update(gradients, g_state, params["g"])
        own = optax.apply_updates(params["g"], updates)
        decay = jnp.minimum(0.9, (1 + n) / (10 + n))
        average = jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, average, own)
        return {"d": params["d"], "g": own}, state, g_state, average, value

    rows = batch_indices(run_key, 0, steps, len(data), BATCH)
    measured = []
    for n in range(steps):
        batch, key = data[rows[n]], subkey(subkey(run_key, "step"), n)
        d_values = []
        for i, third in enumerate(np.split(np.asarray(batch), CRITIC_UPDATES)):
            params, d_state, value = update_d(params, state, d_state, third, subkey(subkey(key, "d"), i))
            d_values.append(value)
        g_key = subkey(subkey(key, "g"), 0)
        params, state, g_state, average, value = update_g(params, state, g_state, average, batch, g_key, float(n))
        measured.append((np.mean(d_values), value))
    return params, state, average, measured


def test_alternate_is_the_loop_written_by_hand():
    data, steps = gaussians(), 12
    params, state, average, measured = by_hand(data, steps)
    run = compile_step(scan_data(STEP, steps=steps, batch_size=BATCH))
    after, stacked = run(initial(), data)
    assert int(after.step) == steps
    chex.assert_trees_all_close(after.params, params, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(after.state, state, rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(use_ema(after).params, {"d": params["d"], "g": average}, rtol=1e-4, atol=1e-5)
    numbers = jax.vmap(metrics.compute)(stacked)
    np.testing.assert_allclose(
        np.stack([numbers["d/loss"], numbers["g/loss"]], 1), np.asarray(measured), rtol=1e-4, atol=1e-5
    )


def test_fit_resumes_exactly_and_keeps_the_best_of_two_networks(tmp_path):
    def run(folder, epochs, callbacks=()):
        return fit(
            initial(),
            STEP,
            gaussians(),
            epochs=epochs,
            batch_size=BATCH,
            evaluate=make_evaluate(g_loss),
            validation=gaussians(12),
            callbacks=callbacks,
            checkpoints=Checkpoints(folder, best="train/d/loss", mode="min"),
        )

    whole = run(tmp_path / "whole", 4)
    run(tmp_path / "parts", 4, [lambda event: event.step >= 6])
    resumed = run(tmp_path / "parts", 4)
    assert resumed.first_step > 0
    chex.assert_trees_all_equal(resumed.train_state, whole.train_state)
    assert resumed.history == whole.history
    assert sorted(whole.metrics["train"]) == ["d/loss", "g/loss"]


def noisy(params, state, batch, *, key, train):
    return jnp.sum(params["a"] + params["b"]), (state, {"noise": jax.random.normal(subkey(key, "noise"))})


def two_numbers():
    params = {"a": jnp.zeros(1), "b": jnp.zeros(1)}
    return TrainState.create(params, {name: optax.sgd(0.0).init(leaf) for name, leaf in params.items()}, seed=0)


def test_losses_that_use_one_name_draw_different_noise():
    still = optax.sgd(0.0)
    drawn = {}
    for updates in (1, 2):
        parts = {"a": Part(noisy, still, updates=updates), "b": Part(noisy, still)}
        _, measured = alternate(parts)(two_numbers(), jnp.zeros(2))
        drawn[updates] = {name: float(value) for name, value in metrics.compute(measured).items()}
    assert drawn[1]["a/noise"] != drawn[1]["b/noise"] == drawn[2]["b/noise"]
    second = 2 * drawn[2]["a/noise"] - drawn[1]["a/noise"]  # of the mean of the two
    key = subkey(subkey(subkey(two_numbers().key, "step"), 0), "a")
    np.testing.assert_allclose(second, jax.random.normal(subkey(subkey(key, 1), "noise")), rtol=1e-5)
    assert abs(second - drawn[1]["a/noise"]) > 1e-3


def test_each_loss_moves_its_own_network_and_sees_what_was_changed_before():
    """By hand: a moves to 3 at rate 1/2 twice, on 2 and on 4: 0, 1, 2.5; then b by the gradient a + batch = 5.5."""

    def a_loss(params, state, batch, *, key, train):
        return jnp.mean((params["a"] - batch) ** 2) / 2 + 100 * jnp.sum(params["b"]), (state, {})

    def b_loss(params, state, batch, *, key, train):
        return jnp.sum(params["b"]) * (jnp.sum(params["a"]) + jnp.mean(batch)), (state, {})

    parts = {"a": Part(a_loss, optax.sgd(0.5), updates=2), "b": Part(b_loss, optax.sgd(1.0))}
    after, _ = jax.jit(alternate(parts))(two_numbers(), jnp.array([2.0, 4.0]))
    np.testing.assert_allclose(after.params["a"], [2.5])
    np.testing.assert_allclose(after.params["b"], [-5.5])


@needs_devices(2)
def test_accumulation_and_devices_give_the_same():
    def weighted(params, state, batch, *, key, train):
        values, weights = batch
        return metrics.mean((params["a"] - values) ** 2, weights=weights), (state, {})

    batch = (jnp.arange(16.0), jnp.asarray(np.arange(16) % 3 == 0, jnp.float32))
    parts = {"a": Part(weighted, optax.sgd(0.1), updates=2)}
    expected, _ = jax.jit(alternate(parts))(two_numbers(), batch)
    accumulated, _ = jax.jit(alternate(parts, accumulate=4))(two_numbers(), batch)
    chex.assert_trees_all_close(accumulated.params, expected.params, rtol=1e-5)
    # Each device cuts its own part of the batch, so the examples are put in the order in which that gives the same.
    halves = jax.tree.map(lambda leaf: leaf.reshape(2, 2, 4).swapaxes(0, 1).reshape(16), batch)
    spread = pmap_step(alternate(parts, axis_name="data"), devices=jax.devices()[:2])
    after, _ = spread(two_numbers(), halves)
    chex.assert_trees_all_close(after.params, expected.params, rtol=1e-5)


def test_networks_without_a_part_stay_as_they_are():
    parts = {"d": PARTS["d"]}
    before = alternate_state(MODELS, parts, seed=1)
    assert sorted(before.opt_state) == ["d"]
    after, _ = jax.jit(alternate(parts))(before, gaussians(24))
    chex.assert_trees_all_equal(after.params["g"], before.params["g"])
    with pytest.raises(AssertionError):
        chex.assert_trees_all_equal(after.params["d"], before.params["d"])


def test_a_number_that_is_not_finite_is_found_and_named():
    def loss(params, state, batch, *, key, train):
        return jnp.sum(jnp.sqrt(params["b"] - jnp.mean(batch))), (state, {})

    parts = {"a": Part(noisy, optax.sgd(0.1)), "b": Part(loss, optax.sgd(0.1))}
    data = np.where(np.arange(8) < 4, -1.0, 1.0).astype(np.float32)
    with pytest.raises(NonFiniteError, match="training went wrong at step 2") as caught:
        fit(two_numbers(), alternate(parts), data, epochs=1, batch_size=2, shuffle=False)
    assert caught.value.path == "b"
    assert int(caught.value.train_state.step) == 2
    assert np.isfinite(caught.value.train_state.params["b"]).all()


def test_a_bad_update_of_any_part_leaves_out_the_whole_step():
    """By hand: a takes -1 a step and b the mean of the batch; the steps on the batches with NaN change nothing."""

    def a_loss(params, state, batch, *, key, train):
        return jnp.sum(params["a"]), (state, {"seen": metrics.mean(jnp.ones(2))})

    def b_loss(params, state, batch, *, key, train):
        return -jnp.sum(params["b"]) * jnp.mean(batch), (state, {"seen": metrics.mean(batch)})

    parts = {"a": Part(a_loss, optax.sgd(1.0)), "b": Part(b_loss, optax.sgd(1.0))}
    data = np.array([1.0, 1.0, np.nan, 1.0, 2.0, 2.0, np.inf, 0.0, 3.0, 3.0], np.float32)

    def train(skip_nonfinite):
        step = alternate(parts, skip_nonfinite=skip_nonfinite)
        return fit(two_numbers(), step, data, epochs=1, batch_size=2, shuffle=False)

    with pytest.warns(UserWarning, match="2 of the steps up to 5 were skipped"):
        result = train(2)
    after = result.train_state
    assert (float(after.params["a"][0]), float(after.params["b"][0])) == (-3.0, 6.0)
    assert (int(after.step), int(after.skipped)) == (5, 2)
    assert result.metrics["train"] == {"a/seen": 1.0, "b/seen": 2.0}
    with pytest.raises(NonFiniteError) as caught:
        train(1)
    assert (int(caught.value.train_state.step), float(caught.value.train_state.params["b"][0])) == (3, 3.0)


def test_constants_go_to_every_loss():
    def loss(params, state, batch, *, key, train, constants):
        return jnp.sum(params["a"] * constants["scale"]) + jnp.sum(params["b"]) * jnp.mean(batch), (state, {})

    parts = {name: Part(loss, optax.sgd(1.0)) for name in ("a", "b")}
    constants = {"scale": np.float32([5.0])}
    result = fit(two_numbers(), alternate(parts), np.float32([2, 2]), epochs=1, batch_size=2, constants=constants)
    assert jax.tree.map(float, jax.tree.map(jnp.sum, result.train_state.params)) == {"a": -5.0, "b": -2.0}


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"d": (d_loss, D_RULE, 5)}, TypeError, "Part(g_loss, g_optimizer)}, got {'d': 'a tuple of 3'}"),
        ([PARTS["d"]], TypeError, "parts must be Parts by name, such as"),
        ({"d": Part(d_loss, D_RULE, updates=0)}, ValueError, "updates of 'd' must be an integer of at least 1, got 0"),
    ],
)
def test_wrong_parts_are_refused(parts, error, message):
    with pytest.raises(error, match=re.escape(message)):
        alternate(parts)


def test_a_train_state_or_batch_that_does_not_fit_is_refused():
    alone = TrainState.create(initial().params["d"], (), seed=0)
    with pytest.raises(TypeError, match=re.escape("params of the train state must be a dict with the networks")):
        STEP(alone, gaussians(24))
    with pytest.raises(ValueError, match="a batch of 25 examples cannot be cut into equal parts for 3 updates of 'd'"):
        STEP(initial(), gaussians(25))
    with pytest.raises(ValueError, match=re.escape("there is no model for the parts ['g']; there are ['d']")):
        alternate_state({"d": D}, PARTS, seed=0)
    with pytest.raises(TypeError, match="the loss of 'd' must return metrics by name, got"):
        alternate({"d": Part(lambda *_, **__: (jnp.zeros(()), ({}, jnp.zeros(()))), D_RULE)})(
            initial()._replace(state={}), gaussians(24)
        )


@needs_devices(8)
def test_networks_on_a_mesh_are_those_of_one_device():
    """Their parameters are divided, and what their optimizers keep of them."""
    placement = place(MODELS, make_mesh({"data": 8}), FSDP)
    results = []
    for where in (None, placement):
        step = compile_step(alternate(PARTS, placement=where))
        state = alternate_state(MODELS, PARTS, 5, placement=where)
        for first in range(0, 96, BATCH):
            state, measured = step(state, gaussians()[first : first + BATCH])
        results.append((state, metrics.compute(measured)))
    (one, of_one), (divided, of_divided) = results
    chex.assert_trees_all_close(jax.device_get(divided), jax.device_get(one), rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_close(of_divided, of_one, rtol=1e-4)
    found = {path: leaf.sharding.spec for path, leaf in paths(divided).items() if leaf.shape == (NOISE, 8)}
    kept = [path for path in found if "opt_state" in path]
    assert len(kept) >= 4  # two averages of the discriminator's Adam, the generator's momentum and its average
    assert {tuple(spec) for spec in found.values()} == {(None, "data")}


def test_a_mapped_axis_and_a_placement_exclude_each_other():
    placement = place(MODELS, make_mesh({"data": jax.device_count()}), {})
    with pytest.raises(ValueError, match="alternate: axis_name is for a program for each device, a placement for one"):
        alternate(PARTS, axis_name="data", placement=placement)
