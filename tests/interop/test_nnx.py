"""NNX modules as models, and models as NNX modules, against Flax's own runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxnets import subkey
from jaxnets.interop import from_nnx, to_nnx
from jaxnets.training import TrainState, fit, init_train_state, make_step
from tests.interop.networks import (
    BATCHES,
    DATA,
    KEY,
    OPTIMIZER,
    cross_entropy_of,
    mean_cross_entropy,
    native,
    permissive,
)
from tests.oracles import assert_close, normal, permissive_optimizer, permissive_promotion

X = normal(8, 5)


class Net(nnx.Module):
    """Linear, batch norm, dropout twice, and a list of linear layers."""

    def __init__(self, *, rngs, rate=0.5):
        self.fc = nnx.Linear(5, 6, rngs=rngs)
        self.bn = nnx.BatchNorm(6, momentum=0.9, rngs=rngs)
        self.drop1, self.drop2 = nnx.Dropout(rate, rngs=rngs), nnx.Dropout(rate, rngs=rngs)
        self.head = nnx.List([nnx.Linear(6, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)])

    def __call__(self, x):
        x = self.drop1(nnx.relu(self.bn(self.fc(x))))
        return self.head[1](self.drop2(self.head[0](x)))


MODEL = permissive(from_nnx(lambda rngs: Net(rngs=rngs)))


def flax_net(params, state, key):
    """Flax's own module with given arrays, and the keys that a model's key stands for."""
    module = Net(rngs=nnx.Rngs(KEY))
    nnx.update(module, params)
    nnx.update(module, state)
    for name in ("drop1", "drop2"):
        getattr(module, name).rngs.key.set_value(subkey(key, f"{name}/rngs"))
    return module


def test_init_gives_the_arrays_of_flax():
    params, state = MODEL.init(KEY)
    module = Net(rngs=nnx.Rngs(KEY))
    assert_close(params, nnx.to_pure_dict(nnx.state(module, nnx.Param)), rtol=0, atol=0)
    assert_close(state, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat)), rtol=0, atol=0)
    assert sorted(params["head"]) == [0, 1]


def test_values_state_and_gradients_equal_those_of_flax():
    params, state = MODEL.init(KEY)
    weights = normal(8, 3, seed=1)

    def ours(params):
        outputs, new_state = MODEL.apply(params, state, X, key=KEY, train=True)
        return jnp.sum(outputs * weights), (outputs, new_state)

    (_, (outputs, new_state)), gradients = jax.jit(jax.value_and_grad(ours, has_aux=True))(params)
    with permissive_promotion():
        module = flax_net(params, state, KEY)
        (_, expected), expected_gradients = nnx.value_and_grad(
            lambda module: (jnp.sum((outputs := module(X)) * weights), outputs), has_aux=True
        )(module)
        assert_close(outputs, expected)
        assert_close(gradients, nnx.to_pure_dict(expected_gradients))
        assert_close(new_state, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat)))
        module.eval()
        evaluated, after = MODEL.apply(params, new_state, X, train=False)
        assert_close(evaluated, module(X))
    assert after is new_state


@pytest.mark.slow
def test_fit_trains_as_a_loop_written_for_flax():
    start = init_train_state(MODEL, permissive_optimizer(OPTIMIZER), seed=5)
    with permissive_promotion():
        module = flax_net(start.params, start.state, KEY)
        optimizer = nnx.Optimizer(module, OPTIMIZER, wrt=nnx.Param)
        for number, (images, labels) in enumerate(BATCHES):
            for name in ("drop1", "drop2"):
                stream = getattr(module, name).rngs
                stream.key.set_value(subkey(subkey(subkey(start.key, "step"), number), f"{name}/rngs"))
                stream.count.set_value(jnp.zeros((), jnp.uint32))

            def loss(module, images=images, labels=labels):
                return mean_cross_entropy(module(images), labels)

            optimizer.update(module, nnx.grad(loss)(module))
    step = make_step(cross_entropy_of(MODEL), permissive_optimizer(OPTIMIZER))
    result = fit(start, step, DATA, epochs=1, batch_size=8, shuffle=False)
    assert_close(result.train_state.params, nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    assert_close(result.train_state.state, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat)))


def test_a_module_gives_its_own_arrays_and_stays_as_it_is():
    module = Net(rngs=nnx.Rngs(7))
    before = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(module, (nnx.Param, nnx.BatchStat))))
    model = permissive(from_nnx(module))
    params, state = model.init(KEY)
    assert_close(params, nnx.to_pure_dict(nnx.state(module, nnx.Param)), rtol=0, atol=0)
    model.apply(params, state, X, key=KEY, train=True)
    assert_close(nnx.to_pure_dict(nnx.state(module, (nnx.Param, nnx.BatchStat))), before, rtol=0, atol=0)
    assert not module.bn.use_running_average


def test_no_retrace_and_dtypes():
    traces = []

    @jax.jit
    def run(params, state, x):
        traces.append(1)
        return MODEL.apply(params, state, x, key=KEY, train=True)

    params, state = MODEL.init(KEY)
    _, after = run(params, state, X)
    run(params, after, X)
    assert len(traces) == 1
    params, state = MODEL.init(KEY, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype(jnp.float32)}


def test_other_variables_can_be_trained():
    params, state = permissive(from_nnx(lambda rngs: Net(rngs=rngs), trainable=nnx.PathContains("fc"))).init(KEY)
    assert list(params) == ["fc"]
    assert sorted(state) == ["bn", "head"]


def test_from_nnx_errors():
    params, state = MODEL.init(KEY)
    with pytest.raises(ValueError, match=r"the module draws random numbers; pass key=subkey\(key, '<name>'\)"):
        MODEL.apply(params, state, X, train=True)
    with pytest.raises(ValueError, match=r"from_nnx: params must have .* missing \['fc/bias', 'fc/kernel'\]"):
        MODEL.apply({name: part for name, part in params.items() if name != "fc"}, state, X, key=KEY, train=True)
    with pytest.raises(TypeError, match=r"expected a module or a function that makes one, got dict"):
        from_nnx({})
    with pytest.raises(TypeError, match=r"the function must return an nnx.Module, got Array|got ShapeDtypeStruct"):
        from_nnx(lambda rngs: rngs.params.uniform((2,)))


def test_model_as_module_gives_its_values_and_draws_in_training():
    model = native()
    module = to_nnx(model, rngs=nnx.Rngs(0))
    params, state = nnx.to_pure_dict(nnx.state(module, nnx.Param)), nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))
    params, state = params["params"], state["state"]
    params["head"] = [params["head"][i] for i in (0, 1)]
    first, second = module(X), module(X)
    assert not np.array_equal(first, second)
    _, expected_state = model.apply(params, state, X, key=KEY, train=True)
    _, expected_state = model.apply(params, expected_state, X, key=KEY, train=True)
    assert_close(nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))["state"], expected_state)
    module.eval()
    expected, _ = model.apply(params, expected_state, X, train=False)
    np.testing.assert_allclose(module(X), expected, rtol=1e-6)
    np.testing.assert_array_equal(module(X), module(X))


class Parent(nnx.Module):
    """An NNX module with a model inside."""

    def __init__(self, rngs):
        self.first = nnx.Linear(5, 5, use_bias=False, rngs=rngs)
        self.net = to_nnx(native(rate=0.0), rngs=rngs)

    def __call__(self, x):
        return self.net(self.first(x))


def test_model_inside_a_module_trains_under_nnx_jit_as_make_step_does():
    module = Parent(nnx.Rngs(1))
    model = permissive(from_nnx(Parent))
    _, params, _, state = nnx.split(module, nnx.Param, nnx.RngState, ...)
    optimizer = permissive_optimizer(OPTIMIZER)
    pure, pure_state = nnx.to_pure_dict(params), nnx.to_pure_dict(state)
    train_state = TrainState.create(pure, optimizer.init(pure), state=pure_state, seed=0)
    step = jax.jit(make_step(cross_entropy_of(model), optimizer))

    @nnx.jit
    def flax_step(module, nnx_optimizer, images, labels):
        gradients = nnx.grad(lambda module: mean_cross_entropy(module(images), labels))(module)
        nnx_optimizer.update(module, gradients)

    with permissive_promotion():
        nnx_optimizer = nnx.Optimizer(module, OPTIMIZER, wrt=nnx.Param)
        for batch in BATCHES:
            flax_step(module, nnx_optimizer, *batch)
            train_state, _ = step(train_state, batch)
    assert_close(train_state.params, nnx.to_pure_dict(nnx.state(module, nnx.Param)))
    assert_close(train_state.state, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat)))


def test_to_nnx_dtype_and_errors():
    module = to_nnx(native(), rngs=nnx.Rngs(0), dtype=jnp.bfloat16)
    assert module.params["fc"]["kernel"].dtype == jnp.bfloat16
    with pytest.raises(TypeError, match=r"to_nnx: model must be a jaxnets.Model, got Parent"):
        to_nnx(Parent(nnx.Rngs(1)), rngs=nnx.Rngs(0))


def test_training_leaves_the_wrapped_module_alone():
    module = nnx.Linear(5, 3, rngs=nnx.Rngs(0))
    before = np.asarray(module(X))
    model = permissive(from_nnx(module))
    loss = cross_entropy_of(model)
    for _ in range(2):
        start = init_train_state(model, OPTIMIZER, 0)
        result = fit(start, make_step(loss, OPTIMIZER), DATA, epochs=1, batch_size=8)
    assert not np.array_equal(np.asarray(result.train_state.params["kernel"]), np.asarray(module.kernel.get_value()))
    np.testing.assert_array_equal(np.asarray(module(X)), before)


class Jitted(nnx.Module):
    """A module whose call is compiled by NNX, which passes all variables on as new ones."""

    def __init__(self, *, rngs):
        self.fc, self.drop = nnx.Linear(5, 3, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    @nnx.jit
    def __call__(self, x):
        return self.drop(self.fc(x))


def test_modules_with_transforms_of_nnx_need_no_key_in_evaluation():
    model = permissive(from_nnx(lambda rngs: Jitted(rngs=rngs)))
    params, state = model.init(KEY)
    expected = X @ np.asarray(params["fc"]["kernel"]) + np.asarray(params["fc"]["bias"])
    np.testing.assert_allclose(model.apply(params, state, X, train=False)[0], expected, rtol=1e-5, atol=1e-6)
    compiled = jax.jit(lambda params, x: model.apply(params, state, x, train=False)[0])
    np.testing.assert_allclose(compiled(params, X), expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="pass key=subkey"):
        model.apply(params, state, X, train=True)


def test_a_missing_stream_is_named():
    from jaxnets import make_model, nn

    model = make_model({"fc": nn.linear_spec(5, 3)}, lambda params, state, x, *, key=None, train: (x, state))
    with pytest.raises(ValueError, match="rngs has no stream 'dropout'"):
        to_nnx(model, rngs=nnx.Rngs(params=0))
