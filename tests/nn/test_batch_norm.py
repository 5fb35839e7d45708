"""Batch norm against PyTorch, Flax, the paper's Algorithm 2, and itself on one device."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.sharding import PartitionSpec

from jaxnets import init, nn
from tests.forms import float64, needs_devices
from tests.oracles import assert_close, normal, permissive_promotion
from tests.torch_oracle import assert_parity

EXACT = {"rtol": 1e-9, "atol": 1e-11}


def channels_first(x):
    return torch.movedim(x, -1, 1) if x.ndim > 2 else x


def channels_last(x):
    return torch.movedim(x, 1, -1) if x.ndim > 2 else x


@pytest.mark.parametrize("shape", [(6, 3), (4, 5, 3), (2, 3, 4, 3), (2, 2, 3, 2, 3)])
@pytest.mark.parametrize("train", [True, False])
def test_values_and_gradients_equal_torch(shape, train):
    running = {"mean": normal(3, seed=3, dtype=np.float64), "variance": normal(3, seed=4, dtype=np.float64) ** 2}

    def ours(params, x):
        state = {**jax.tree.map(jnp.asarray, running), "count": jnp.int32(7)}
        return nn.batch_norm(params, state, x, train=train)[0]

    def theirs(params, x):
        mean, variance = (torch.tensor(running[name]) for name in ("mean", "variance"))
        y = torch.nn.functional.batch_norm(
            channels_first(x), mean, variance, params["scale"], params["bias"], training=train
        )
        return channels_last(y)

    params = {"scale": normal(3, seed=1, dtype=np.float64), "bias": normal(3, seed=2, dtype=np.float64)}
    with float64():
        assert_parity(ours, theirs, params, 2 + 3 * normal(*shape, dtype=np.float64), **EXACT)


def batches(steps, features=3):
    """Batches whose mean and spread drift, as those of a layer in training."""
    drift = np.linspace(0, 2, steps)[:, None, None]
    return 1 + drift + (0.5 + drift) * normal(steps, 4, features, seed=steps, dtype=np.float64)


def run(data, **settings):
    """The state after training on every batch of `data`."""
    _, state = init(nn.batch_norm_spec(data.shape[-1], scale=False, bias=False), jax.random.key(0), dtype=jnp.float64)

    def step(state, x):
        return nn.batch_norm({}, state, x, train=True, **settings)[1], None

    return jax.lax.scan(step, state, jnp.asarray(data))[0]


def assert_like_torch(state, module, x):
    expected = {"count": module.num_batches_tracked, "mean": module.running_mean, "variance": module.running_var}
    assert_close(dict(state), expected, **EXACT)
    actual, same = nn.batch_norm({}, state, jnp.asarray(x), train=False)
    assert same is state
    assert_close(actual, module.eval()(torch.tensor(x)), **EXACT)


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 1000])
@pytest.mark.parametrize("momentum", [0.9, 0.99])
def test_without_warm_up_running_statistics_are_those_of_torch(steps, momentum):
    data = batches(steps)
    module = torch.nn.BatchNorm1d(3, momentum=1 - momentum, affine=False, dtype=torch.float64)
    for batch in data:
        module(torch.tensor(batch))
    with float64():
        assert_like_torch(run(data, momentum=momentum, warm_up=False), module, batches(1)[0])


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 1000])
def test_momentum_one_is_the_average_over_all_batches_as_in_torch(steps):
    data = batches(steps)
    module = torch.nn.BatchNorm1d(3, momentum=None, affine=False, dtype=torch.float64)
    for batch in data:
        module(torch.tensor(batch))
    with float64():
        assert_like_torch(run(data, momentum=1.0), module, batches(1)[0])


@pytest.mark.parametrize("steps", [0, 1, 2, 5, 10, 11, 1000])
def test_warm_up_is_an_average_first_and_exponential_later(steps):
    data = batches(steps)
    module = torch.nn.BatchNorm1d(3, momentum=None, affine=False, dtype=torch.float64)
    for index, batch in enumerate(data):
        module.momentum = None if index < 10 else 0.1
        module(torch.tensor(batch))
    with float64():
        assert_like_torch(run(data), module, batches(1)[0])


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_few_batches_give_algorithm_2_of_the_paper(steps):
    data = batches(steps)
    with float64():
        state = run(data)
    np.testing.assert_allclose(state["mean"], data.mean(axis=1).mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(state["variance"], 4 / 3 * data.var(axis=1).mean(axis=0), rtol=1e-12)


def test_worked_numbers_of_algorithm_2():
    with float64():
        state = run(np.array([[[1.0], [3.0]], [[2.0], [6.0]]]))
        # Means 2 and 4, biased variances 1 and 4, m / (m - 1) = 2.
        np.testing.assert_allclose([state["mean"][0], state["variance"][0]], [3.0, 5.0], rtol=1e-12)
        y, _ = nn.batch_norm({}, state, jnp.array([[8.0]]), train=False, epsilon=0.0)
    np.testing.assert_allclose(y, [[5 / np.sqrt(5)]], rtol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_flax_setting_equals_flax(masked):
    import flax.linen

    mask = np.arange(6) < 4 if masked else None
    x, params = normal(5, 6, 3), {"scale": normal(3, seed=1), "bias": normal(3, seed=2)}
    theirs = flax.linen.BatchNorm(use_running_average=False, momentum=0.99)
    variables = {"params": params, "batch_stats": {"mean": jnp.zeros(3), "var": jnp.ones(3)}}
    _, state = init(nn.batch_norm_spec(3), jax.random.key(0))
    flax_mask = None if mask is None else jnp.asarray(mask)[None, :, None]
    our_mask = None if mask is None else jnp.broadcast_to(jnp.asarray(mask), (5, 6))
    for _ in range(3):
        with permissive_promotion():
            expected, updates = theirs.apply(variables, jnp.asarray(x), mask=flax_mask, mutable=["batch_stats"])
        variables = {**variables, **updates}
        actual, state = nn.batch_norm(
            params, state, jnp.asarray(x), train=True, momentum=0.99, warm_up=False, unbiased=False, mask=our_mask
        )
        kept = slice(None) if mask is None else mask
        assert_close(actual[:, kept], expected[:, kept], rtol=1e-5, atol=2e-6)
        assert_close(
            [state["mean"], state["variance"]],
            [variables["batch_stats"]["mean"], variables["batch_stats"]["var"]],
            rtol=1e-5,
            atol=1e-6,
        )
        x = x + 1


def test_mean_large_beside_the_deviation_keeps_the_variance():
    x = (1e3 + 1e-2 * normal(20000, 4, dtype=np.float64)).astype(np.float32)
    params, state = init(nn.batch_norm_spec(4), jax.random.key(0))
    y, state = nn.batch_norm(params, state, jnp.asarray(x), train=True)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(state["variance"], exact.var(axis=0, ddof=1), rtol=1e-3)
    # What is left is the rounding of the float32 mean: half of 6e-5 beside the deviation 1e-2.
    np.testing.assert_allclose(y, (exact - exact.mean(axis=0)) / np.sqrt(exact.var(axis=0) + 1e-5), atol=1e-2)


@pytest.mark.parametrize("offset", [1, 100])
def test_bfloat16_statistics_and_gradients_are_summed_in_float32(offset):
    x = jnp.asarray(offset + normal(30000, 2), jnp.bfloat16)  # numbers of 64 to 128 are multiples of 1/2
    cotangent = normal(30000, 2, seed=1)
    params, state = init(nn.batch_norm_spec(2), jax.random.key(0))
    (y, state), backward = jax.vjp(lambda x: nn.batch_norm(params, state, x, train=True), x)
    exact = torch.tensor(np.asarray(x, np.float64), requires_grad=True)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_allclose(state["mean"], exact.detach().mean(0), rtol=1e-5)
    np.testing.assert_allclose(state["variance"], exact.detach().var(0), rtol=1e-5 if offset == 1 else 3e-3)
    expected = torch.nn.functional.batch_norm(exact, None, None, training=True)
    expected.backward(torch.tensor(cotangent, dtype=torch.float64))
    zeros = jax.tree.map(jnp.zeros_like, state)
    zeros["count"] = np.zeros(np.shape(state["count"]), jax.dtypes.float0)
    gradient = backward((jnp.asarray(cotangent, jnp.bfloat16), zeros))[0]
    np.testing.assert_allclose(np.asarray(y, np.float64), expected.detach(), atol=0.02)
    np.testing.assert_allclose(np.asarray(gradient, np.float64), exact.grad, atol=0.03)


def test_padding_of_any_value_changes_nothing():
    mask = np.array([[True, True, False], [True, False, False], [True, True, True]])
    x = normal(3, 3, 2, dtype=np.float64)
    with float64():
        params = {"scale": jnp.array([1.5, -0.5]), "bias": jnp.array([0.1, 0.2])}
        _, state = init(nn.batch_norm_spec(2), jax.random.key(0), dtype=jnp.float64)
        weights = jnp.asarray(normal(3, 3, 2, seed=1, dtype=np.float64))

        def masked(params, x):
            y, new_state = nn.batch_norm(params, state, x, train=True, mask=jnp.asarray(mask))
            return jnp.vdot(weights, y), (y, new_state)

        def valid_rows_only(params, rows):
            y, new_state = nn.batch_norm(params, state, rows, train=True)
            return jnp.vdot(weights[mask], y), (y, new_state)

        padded = jnp.where(mask[..., None], x, jnp.nan)
        gradients, (y, new_state) = jax.grad(masked, argnums=(0, 1), has_aux=True)(params, padded)
        expected, (expected_y, expected_state) = jax.grad(valid_rows_only, argnums=(0, 1), has_aux=True)(
            params, jnp.asarray(x[mask])
        )
        assert_close((gradients[0], gradients[1][mask], y[mask]), (*expected, expected_y), **EXACT)
        assert_close(new_state, expected_state, **EXACT)
        assert not np.any(y[~mask])
        assert not np.any(gradients[1][~mask])


def test_a_batch_of_padding_leaves_the_state_and_stays_finite():
    params, state = init(nn.batch_norm_spec(2), jax.random.key(0))
    _, state = nn.batch_norm(params, state, jnp.asarray(normal(4, 2)), train=True)
    for mask in ([False, False, False], [True, False, False]):
        y, new_state = nn.batch_norm(params, state, jnp.asarray(normal(3, 2)), train=True, mask=jnp.array(mask))
        assert_close(new_state, state, rtol=0, atol=0)
        assert np.all(np.isfinite(y))


def whole_batch(params, state, x, weights, **settings):
    y, new_state = nn.batch_norm(params, state, x, train=True, **settings)
    return jnp.vdot(weights, y), (y, new_state)


def across_vmap(params, state, x, weights, **settings):
    y, new_state = jax.vmap(
        lambda x, s: nn.batch_norm(params, state, x, train=True, axis_name="data", **s), axis_name="data"
    )(x, settings)
    return jnp.vdot(weights, y), (y, jax.tree.map(lambda leaf: leaf[0], new_state))


def across_shard_map(params, state, x, weights, **settings):
    mesh = jax.make_mesh((4, 2), ("data", "more"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    split, whole = PartitionSpec(("data", "more")), PartitionSpec()

    def shard(params, x, settings):
        return nn.batch_norm(params, state, x, train=True, axis_name=("data", "more"), **settings)

    # The replicated state may leave with an empty spec only if it is seen to be equal on all devices.
    y, new_state = jax.shard_map(shard, mesh=mesh, in_specs=(whole, split, split), out_specs=(split, whole))(
        params, x, settings
    )
    return jnp.vdot(weights, y), (y, new_state)


@needs_devices(8)
@pytest.mark.parametrize("spread", [across_vmap, across_shard_map])
@pytest.mark.parametrize("masked", [False, True])
def test_statistics_over_a_named_axis_are_those_of_the_whole_batch(spread, masked):
    with float64():
        params = {"scale": jnp.array([1.5, -0.5]), "bias": jnp.array([0.1, 0.2])}
        _, state = init(nn.batch_norm_spec(2), jax.random.key(0), dtype=jnp.float64)
        # Means that differ from device to device: the mean of their variances would be far off.
        x = jnp.asarray(normal(8, 3, 2, dtype=np.float64) + 5 * np.arange(8)[:, None, None])
        weights = jnp.asarray(normal(8, 3, 2, seed=1, dtype=np.float64))
        settings = {"mask": jnp.asarray(np.random.default_rng(0).random((8, 3)) < 0.5)} if masked else {}
        expected, actual = (
            jax.jit(jax.grad(functools.partial(f, **settings), argnums=(0, 2), has_aux=True))(params, state, x, weights)
            for f in (whole_batch, spread)
        )
        assert_close(actual, expected, **EXACT)


@needs_devices(8)
def test_pmap_with_averaged_gradients_equals_the_whole_batch():
    params = {"scale": jnp.array([1.5, -0.5]), "bias": jnp.array([0.1, 0.2])}
    _, state = init(nn.batch_norm_spec(2), jax.random.key(0))
    x, target = normal(8, 3, 2) + np.arange(8, dtype=np.float32)[:, None, None], normal(8, 3, 2, seed=1)

    def loss(params, x, target, axis_name):
        y, new_state = nn.batch_norm(params, state, x, train=True, axis_name=axis_name)
        return jnp.mean((y - target) ** 2), new_state

    def step(x, target):
        gradients, new_state = jax.grad(loss, has_aux=True)(params, x, target, "data")
        return jax.lax.pmean(gradients, "data"), new_state

    actual = jax.pmap(step, axis_name="data")(x, target)
    expected = jax.grad(loss, has_aux=True)(params, jnp.asarray(x), jnp.asarray(target), None)
    assert_close(actual, jax.tree.map(lambda leaf: jnp.stack([leaf] * 8), expected), rtol=1e-5, atol=1e-6)


def test_one_value_a_feature_is_an_error_unless_other_devices_have_more():
    params, state = init(nn.batch_norm_spec(2), jax.random.key(0))
    with pytest.raises(
        ValueError, match=r"training needs at least two values per feature .* got x \[1, 2\]; use a larg"
    ):
        nn.batch_norm(params, state, jnp.ones((1, 2)), train=True)
    sync = functools.partial(nn.batch_norm, params, state, train=True, axis_name="data")
    with pytest.raises(ValueError, match="two values per feature"):
        jax.vmap(sync, axis_name="data")(jnp.ones((1, 1, 2)))
    y, _ = jax.vmap(sync, axis_name="data")(jnp.asarray(normal(5, 1, 2)))
    assert_close(y[:, 0], nn.batch_norm(params, state, jnp.asarray(normal(5, 2)), train=True)[0], atol=1e-6)
    assert nn.batch_norm(params, state, jnp.ones((1, 2)), train=False)[0].shape == (1, 2)


def test_momentum_may_be_traced():
    data = jnp.asarray(normal(4, 5, 2))
    _, state = init(nn.batch_norm_spec(2, scale=False, bias=False), jax.random.key(0))

    def last_mean(momentum):
        return jax.lax.scan(
            lambda s, x: (nn.batch_norm({}, s, x, train=True, momentum=momentum, warm_up=False)[1], None), state, data
        )[0]["mean"]

    momenta = [0.0, 0.5, 0.9]
    assert_close(jax.vmap(last_mean)(jnp.array(momenta)), jnp.stack([last_mean(m) for m in momenta]), atol=1e-6)


@pytest.mark.parametrize(
    ("x", "settings", "message"),
    [
        (np.ones((4, 5), np.float32), {}, r"batch_norm: last axis must fit scale \[3\], got x \[4, 5\]"),
        (np.float32(1), {}, "must have a last axis of features, got a scalar"),
        (np.ones((4, 3), np.float32), {"mask": np.ones(3, bool)}, r"mask must be bool \[4\] .* got bool \[3\]"),
        (
            np.ones((4, 3), np.float32),
            {"mask": np.ones(4, np.float32)},
            r"mask must be bool \[4\] .* got float32 \[4\]",
        ),
    ],
)
def test_errors_say_what_came_and_what_was_expected(x, settings, message):
    params, state = init(nn.batch_norm_spec(3), jax.random.key(0))
    with pytest.raises(ValueError, match=message):
        nn.batch_norm(params, state, jnp.asarray(x), train=True, **jax.tree.map(jnp.asarray, settings))


def test_the_state_of_another_layer_is_an_error():
    params, state = init({"bn": nn.batch_norm_spec(3)}, jax.random.key(0))
    with pytest.raises(
        ValueError, match=r"state must hold mean, variance and count, got a dict of \['bn'\]; pass this"
    ):
        nn.batch_norm(params["bn"], state, jnp.ones((4, 3)), train=True)
    with pytest.raises(ValueError, match="state must hold mean, variance and count, got NoneType"):
        nn.batch_norm(params["bn"], None, jnp.ones((4, 3)), train=True)


def test_integers_are_refused():
    params, state = init(nn.batch_norm_spec(3), jax.random.key(0))
    with pytest.raises(TypeError, match="must be floating point, got int32"):
        nn.batch_norm(params, state, jnp.ones((4, 3), jnp.int32), train=False)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("mean", "step"), [(256.0, 2.0), (100.0, 0.5), (16.0, 0.125)])
@pytest.mark.parametrize("first", [0, 1])
def test_a_mean_far_above_the_deviation_costs_no_digits(dtype, mean, step, first):
    """One entry in a thousand is one step of bfloat16 higher, so a difference of plain squares has no digit right."""
    x = np.full((100_000, 1), mean)
    x[first::1000] += step
    expected = (x - x.mean()) / np.sqrt(x.var() + 1e-5)
    params, state = init(nn.batch_norm_spec(1), jax.random.key(0))
    y, new = jax.jit(lambda x: nn.batch_norm(params, state, x, train=True))(jnp.asarray(x, dtype))
    np.testing.assert_allclose(np.max(y.astype(jnp.float32)), expected.max(), rtol=5e-3)
    np.testing.assert_allclose(new["variance"], x.var(axis=0, ddof=1), rtol=1e-3)
    np.testing.assert_allclose(new["mean"], x.mean(axis=0), rtol=1e-6)


def test_the_gradient_is_summed_over_the_rows_three_times():
    """For bias, scale with variance, and mean; were the mean subtracted twice, there would be a fourth sum."""
    params, x = {"scale": jnp.ones(3), "bias": jnp.zeros(3)}, normal(8, 5, 3)
    state = {"mean": jnp.zeros(3), "variance": jnp.ones(3), "count": jnp.int32(0)}
    _, pull_back = jax.vjp(lambda params, x: nn.batch_norm(params, state, x, train=True)[0], params, x)
    sums = [e for e in jax.make_jaxpr(pull_back)(x).eqns if e.primitive.name == "reduce_sum"]
    assert [e.invars[0].aval.shape for e in sums].count((40, 3)) == 3
