"""Models as Linen modules: by themselves, inside other modules, and in a training loop of Flax."""

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import combinators, make_model, models, nn
from jaxnets.interop import from_linen, to_linen
from jaxnets.training import TrainState, make_step
from tests.interop.networks import BATCHES, KEY, OPTIMIZER, cross_entropy_of, mean_cross_entropy, native
from tests.oracles import assert_close, normal, permissive_optimizer, permissive_promotion

X = normal(8, 5)


def initialized(model, **settings):
    module = to_linen(model, **settings)
    return module, module.init(KEY, X, train=True)


def test_variables_have_the_names_of_the_model_and_give_its_values():
    model = native()
    module, variables = initialized(model)
    params, state = model.init(KEY)
    assert jax.tree.map(jnp.shape, variables["params"]) == jax.tree.map(jnp.shape, params)
    assert jax.tree.map(jnp.shape, variables["batch_stats"]) == jax.tree.map(jnp.shape, state)
    outputs = module.apply({"params": params, "batch_stats": state}, X, train=False)
    np.testing.assert_array_equal(outputs, model.apply(params, state, X, train=False)[0])


def test_random_keys_come_from_flax():
    module, variables = initialized(native())

    def run(seed):
        return module.apply(variables, X, train=True, rngs={"dropout": jax.random.key(seed)}, mutable=["batch_stats"])

    np.testing.assert_array_equal(run(0)[0], run(0)[0])
    assert not np.array_equal(run(0)[0], run(1)[0])
    with pytest.raises(ValueError, match=r"dropout: .* needs a random key"):
        module.apply(variables, X, train=True, mutable=["batch_stats"])


def test_a_training_loop_of_flax_equals_make_step():
    model = native(rate=0.0)
    module, variables = initialized(model)
    params, stats = variables["params"], variables["batch_stats"]
    optimizer = permissive_optimizer(OPTIMIZER)
    opt_state = optimizer.init(params)
    train_state = TrainState.create(params, opt_state, state=stats, seed=0)
    step = jax.jit(make_step(cross_entropy_of(model), optimizer))
    traces = []

    @jax.jit
    def flax_step(params, stats, opt_state, images, labels):
        traces.append(1)

        def loss(params):
            variables = {"params": params, "batch_stats": stats}
            logits, updated = module.apply(variables, images, train=True, mutable=["batch_stats"])
            return mean_cross_entropy(logits, labels), updated["batch_stats"]

        gradients, stats_after = jax.grad(loss, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), stats_after, opt_state

    for batch in BATCHES:
        params, stats, opt_state = flax_step(params, stats, opt_state, *batch)
        train_state, _ = step(train_state, batch)
    assert_close(params, train_state.params)
    assert_close(stats, train_state.state)
    assert len(traces) == 1


class Parent(linen.Module):
    """A Linen module with a model in the middle, twice the same one."""

    @linen.compact
    def __call__(self, x, train):
        x = linen.Dense(5, use_bias=False)(x)
        first, second = to_linen(native(), name="first"), to_linen(native(), rng="noise", collection="other")
        return first(x, train=train) + second(x, train=train)


def test_inside_another_module():
    with permissive_promotion():
        variables = Parent().init(KEY, X, train=False)
        assert set(variables) == {"params", "batch_stats", "other"}
        assert set(variables["params"]) == {"Dense_0", "first", "JaxnetsModel_0"}
        keys = {name: jax.random.key(i) for i, name in enumerate(["dropout", "noise"])}
        outputs, updated = Parent().apply(variables, X, train=True, rngs=keys, mutable=["batch_stats", "other"])
        plain = Parent().apply(variables, X, train=False)
    model = native()
    hidden = X @ variables["params"]["Dense_0"]["kernel"]
    parts = [("batch_stats", "first"), ("other", "JaxnetsModel_0")]
    expected = sum(
        model.apply(variables["params"][name], variables[collection][name], hidden, train=False)[0]
        for collection, name in parts
    )
    np.testing.assert_allclose(plain, expected, rtol=1e-5, atol=1e-5)
    for collection, name in parts:
        _, state = model.apply(variables["params"][name], variables[collection][name], hidden, key=KEY, train=True)
        assert_close(updated[collection][name], state)
    assert outputs.shape == (8, 3)


def test_through_flax_and_back():
    model = native(rate=0.0)
    module, variables = initialized(model)
    again = from_linen(module, X)
    params, state = again.init(KEY)
    assert_close(params, variables["params"], rtol=0, atol=0)
    outputs, after = again.apply(params, state, X, train=True)
    expected, expected_after = model.apply(params, state["batch_stats"], X, train=True)
    assert_close((outputs, after["batch_stats"]), (expected, expected_after))


def test_models_without_state_and_with_params_that_are_one_array_or_empty():
    def scaled(params, state, x, *, key=None, train):
        return x * params, state

    spec = nn.linear_spec(1, 1)["kernel"]
    module, variables = initialized(make_model(spec, scaled))
    assert jax.tree.map(jnp.shape, variables) == {"params": {"model": (1, 1)}}
    np.testing.assert_allclose(module.apply(variables, X, train=True), X * variables["params"]["model"], rtol=1e-6)
    chain = combinators.build(combinators.serial(combinators.linear(4), jax.nn.relu), X)
    module, variables = initialized(chain)
    assert list(variables) == ["params"]
    assert module.apply(variables, X, train=True).shape == (8, 4)


def test_dtype_and_errors():
    _, variables = initialized(native(), dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables["params"])} == {jnp.dtype(jnp.bfloat16)}
    with pytest.raises(TypeError, match=r"to_linen: model must be a jaxnets.Model, got Net|got function"):
        to_linen(lambda x: x)


def test_rematerialization_of_a_wrapped_model():
    def apply(params, state, x, *, key=None, train):
        return jnp.tanh(nn.linear(params["fc"], x)) * (2.0 if train else 1.0), state

    model = make_model({"fc": nn.linear_spec(5, 3)}, apply)
    rematted = linen.remat(type(to_linen(model)), static_argnums=(2,))

    class Outer(linen.Module):
        @linen.compact
        def __call__(self, x, train):
            inner = to_linen(model)
            return rematted(inner.functions, inner.collection, inner.rng, inner.dtype)(x, train)

    x = jnp.ones((4, 5))
    variables = Outer().init(jax.random.key(0), x, False)
    for train in (False, True):
        gradient = jax.grad(lambda v, train=train: Outer().apply(v, x, train).sum())(variables)
        (params,) = variables["params"].values()
        expected = jax.grad(lambda p, train=train: model.apply(p, {}, x, train=train)[0].sum())(params)
        (found,) = gradient["params"].values()
        np.testing.assert_allclose(found["fc"]["kernel"], expected["fc"]["kernel"], rtol=1e-6)


def test_a_model_that_draws_in_evaluation_too_is_initialized_with_the_key_it_is_given():
    model = models.vae(models.VAEConfig((5, 4, 2)))
    module, x = to_linen(model), jnp.ones((3, 5))
    variables = module.init({"params": jax.random.key(0), "dropout": jax.random.key(1)}, x, train=False)
    outputs = module.apply(variables, x, train=False, rngs={"dropout": jax.random.key(2)})
    assert jax.tree.leaves(outputs)[0].shape[0] == 3
    with pytest.raises(ValueError, match="key is needed"):
        module.apply(variables, x, train=False)
