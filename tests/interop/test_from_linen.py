"""Linen modules as models against Flax's own runs of them."""

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import subkey
from jaxnets.interop import from_linen
from jaxnets.training import fit, init_train_state, make_step
from tests.forms import float64
from tests.interop.networks import (
    BATCHES,
    DATA,
    KEY,
    OPTIMIZER,
    cross_entropy_of,
    mean_cross_entropy,
    permissive,
)
from tests.oracles import assert_close, normal, permissive_optimizer, permissive_promotion

X = normal(8, 5)


class Net(linen.Module):
    """Dense, batch norm and dropout."""

    @linen.compact
    def __call__(self, x, train):
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9)(linen.Dense(6)(x))
        x = linen.Dropout(0.5)(linen.relu(x), deterministic=not train)
        return linen.Dense(3)(x)


MODEL = permissive(from_linen(Net(), X))


def test_init_gives_the_arrays_of_flax():
    params, state = MODEL.init(KEY)
    with permissive_promotion():
        expected = dict(Net().init(KEY, X, train=False))
    assert_close(params, expected.pop("params"), rtol=0, atol=0)
    assert_close(state, expected, rtol=0, atol=0)


def test_values_state_and_gradients_equal_those_of_flax():
    params, state = MODEL.init(KEY)
    weights = normal(8, 3, seed=1)

    def ours(params, x):
        outputs, new_state = MODEL.apply(params, state, x, key=KEY, train=True)
        return jnp.sum(outputs * weights), new_state

    def theirs(params, x):
        keys = {"dropout": subkey(KEY, "dropout")}
        outputs, updated = Net().apply({"params": params, **state}, x, True, rngs=keys, mutable=["batch_stats"])
        return jnp.sum(outputs * weights), updated

    (value, new_state), gradients = jax.jit(jax.value_and_grad(ours, (0, 1), has_aux=True))(params, X)
    with permissive_promotion():
        (expected, updated), expected_gradients = jax.value_and_grad(theirs, (0, 1), has_aux=True)(params, X)
    assert_close((value, new_state, gradients), (expected, updated, expected_gradients))
    assert not np.allclose(new_state["batch_stats"]["BatchNorm_0"]["mean"], state["batch_stats"]["BatchNorm_0"]["mean"])


def test_evaluation_equals_flax_and_returns_the_state_as_it_is():
    params, state = MODEL.init(KEY)
    outputs, after = MODEL.apply(params, state, X, train=False)
    with permissive_promotion():
        expected = Net().apply({"params": params, **state}, X, train=False)
    assert_close(outputs, expected)
    assert after is state


@pytest.mark.slow
def test_fit_trains_as_a_loop_written_for_flax():
    optimizer = permissive_optimizer(OPTIMIZER)
    start = init_train_state(MODEL, optimizer, seed=5)
    key, params, stats = start.key, start.params, start.state["batch_stats"]
    opt_state = optimizer.init(params)
    module = Net()

    @jax.jit
    def flax_step(params, stats, opt_state, number, images, labels):
        def loss(params):
            dropout = subkey(subkey(subkey(key, "step"), number), "dropout")
            logits, updated = module.apply(
                {"params": params, "batch_stats": stats}, images, True, rngs={"dropout": dropout}, mutable="batch_stats"
            )
            return mean_cross_entropy(logits, labels), updated["batch_stats"]

        gradients, stats = jax.grad(loss, has_aux=True)(params)
        updates, opt_state = OPTIMIZER.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), stats, opt_state

    with permissive_promotion():
        for number, batch in enumerate(BATCHES * 2):
            params, stats, opt_state = flax_step(params, stats, opt_state, jnp.int32(number), *batch)
    step = make_step(cross_entropy_of(MODEL), optimizer)
    result = fit(start, step, DATA, epochs=2, batch_size=8, shuffle=False)
    assert_close(result.train_state.params, params)
    assert_close(result.train_state.state["batch_stats"], stats)


def test_no_retrace():
    params, state = MODEL.init(KEY)
    traces = []

    @jax.jit
    def run(params, state, x):
        traces.append(1)
        return MODEL.apply(params, state, x, key=KEY, train=True)

    _, state = run(params, state, X)
    run(params, state, X)
    assert len(traces) == 1


def told(name):
    """A module whose `__call__` has an argument `name` and says what it was told."""
    namespace = {"linen": linen, "jnp": jnp}
    exec(
        f"class Told(linen.Module):\n    def __call__(self, x, *, {name}):\n        return x + {name} * jnp.float32(1)",
        namespace,
    )
    return namespace["Told"]()


@pytest.mark.parametrize(
    ("name", "meaning"),
    [("train", 1), ("training", 1), ("is_training", 1), ("deterministic", 0), ("use_running_average", 0)],
)
def test_every_usual_name_is_found_and_means_what_it_says(name, meaning):
    for argument in ("auto", name):
        model = permissive(from_linen(told(name), X, train_argument=argument))
        for train in (True, False):
            outputs, _ = model.apply({}, {}, np.zeros((), np.float32), train=train)
            assert outputs == (meaning if train else 1 - meaning)


class FieldNet(linen.Module):
    """A module with a field for training."""

    deterministic: bool = True

    @linen.compact
    def __call__(self, x):
        return x * (1 - self.deterministic)


class TwoNames(linen.Module):
    """A module with two arguments that could say it."""

    def __call__(self, x, deterministic, use_running_average):
        return x + 2 * deterministic + use_running_average


class Anything(linen.Module):
    """A module that takes any argument."""

    def __call__(self, x, **settings):
        return x + settings.get("train", 5)


def test_fields_functions_and_none():
    one = np.ones((), np.int32)
    field = permissive(from_linen(FieldNet(), one))
    assert field.apply({}, {}, one, train=True)[0] == 1
    assert field.apply({}, {}, one, train=False)[0] == 0
    both = from_linen(
        TwoNames(), one, train_argument=lambda train: {"deterministic": not train, "use_running_average": train}
    )
    assert permissive(both).apply({}, {}, one, train=True)[0] == 2
    assert permissive(from_linen(Anything(), one, train_argument="train")).apply({}, {}, one, train=True)[0] == 2
    assert permissive(from_linen(Anything(), one, train_argument=None)).apply({}, {}, one, train=True)[0] == 6
    plain = permissive(from_linen(linen.Dense(2), X))
    params, state = plain.init(KEY)
    assert state == {}
    assert plain.apply(params, state, X, train=True)[0].shape == (8, 2)


def test_unclear_ways_to_train_are_errors():
    for module in (TwoNames(), Anything()):
        with pytest.raises(ValueError, match=r"cannot detect how to pass train.*pass train_argument=<name>"):
            from_linen(module, X)
    with pytest.raises(
        ValueError, match=r"cannot detect how to pass train to Net, its __call__ takes \['x', 'train'\]"
    ):
        from_linen(Net(), X, train_argument="deterministic")
    with pytest.raises(ValueError, match=r"got 'learning'; pass train_argument=lambda train: \{'learning': train\}"):
        from_linen(Net(), X, train_argument="learning")
    with pytest.raises(TypeError, match=r"must be a flax.linen.Module, got ModuleType|got type"):
        from_linen(Net, X)


class Noisy(linen.Module):
    """A module with a random key of its own name, and boxed parameters."""

    @linen.compact
    def __call__(self, x):
        kernel = self.param("kernel", linen.with_partitioning(linen.initializers.ones, ("in", "out")), (5, 2))
        return x @ kernel + jax.random.normal(self.make_rng("noise"), (2,))


def test_other_random_keys_and_boxed_parameters():
    model = permissive(from_linen(Noisy(), X, rngs=("noise",)))
    params, state = model.init(KEY)
    np.testing.assert_array_equal(params["kernel"], np.ones((5, 2)))
    first, again = (model.apply(params, state, X, key=KEY, train=False)[0] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, model.apply(params, state, X, key=jax.random.key(4), train=False)[0])
    with pytest.raises(ValueError, match=r"random key that it was not given; pass key=subkey\(key, '<name>'\)"):
        model.apply(params, state, X, train=False)
    with pytest.raises(ValueError, match=r"random key that it was not given; add its name to rngs=\('dropout',\)"):
        permissive(from_linen(Noisy(), X)).apply(params, state, X, key=KEY, train=False)


class Sowing(linen.Module):
    """A module whose state grows with every call."""

    @linen.compact
    def __call__(self, x):
        self.sow("intermediates", "inputs", x)
        self.sow("penalties", "mean", jnp.mean(x))
        return x


def test_intermediates_are_left_out_and_growing_state_is_an_error():
    model = permissive(from_linen(Sowing(), X))
    params, state = model.init(KEY)
    assert list(state) == ["penalties"]
    with pytest.raises(ValueError, match=r"the state after a step must have .* unexpected \['penalties/mean/1'\]"):
        model.apply(params, state, X, train=True)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float64])
def test_dtypes(dtype):
    with float64():
        model = permissive(from_linen(Net(), jax.ShapeDtypeStruct((1, 5), jnp.float32)))
        params, state = model.init(KEY, dtype=dtype)
        outputs, after = model.apply(params, state, jnp.asarray(X, dtype), key=KEY, train=True)
    stats = jnp.float32 if dtype == jnp.bfloat16 else jnp.float64
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    assert {leaf.dtype for leaf in jax.tree.leaves((state, after))} == {jnp.dtype(stats)}
    assert outputs.dtype == dtype


def test_an_argument_that_may_mean_training_is_not_passed_over():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x, is_train: bool = False):
            return linen.Dropout(0.5)(linen.Dense(3)(x), deterministic=not is_train)

    with pytest.raises(
        ValueError, match=r"cannot detect how to pass train to Net, its __call__ takes \['x', 'is_train'\]"
    ):
        from_linen(Net(), jnp.ones((1, 5)))
    model = from_linen(Net(), jnp.ones((1, 5)), train_argument=lambda train: {"is_train": train})
    params, state = model.init(jax.random.key(0))
    with permissive_promotion():
        drawn, _ = model.apply(params, state, jnp.ones((64, 5)), key=jax.random.key(1), train=True)
        plain, _ = model.apply(params, state, jnp.ones((64, 5)), train=False)
    kept = np.asarray(drawn) != 0
    assert 0.3 < kept.mean() < 0.7
    np.testing.assert_allclose(np.asarray(drawn)[kept], 2 * np.asarray(plain)[kept], rtol=1e-5)
