"""Optimizers that want more than gradients do in `make_step` and `fit` what they do in a loop written by hand."""

import jax
import jax.numpy as jnp
import optax
import optax.contrib
import pytest

from jaxnets.training import Part, TrainState, alternate, fit, make_step
from jaxnets.training.optimizer_arguments import argument_names
from tests.oracles import assert_close, normal, permissive_optimizer, permissive_promotion

X = normal(32, 3, seed=1)
Y = X @ normal(3, 1, seed=2)[:, 0] + 0.1 * normal(32, seed=3)
STEPS = 6


def value_of(params, x, y):
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


def loss(params, state, batch, *, key, train):
    return value_of(params, *batch), (state, {})


def begin():
    return {"w": jnp.zeros(3), "b": jnp.zeros(())}


def by_hand(optimizer, update):
    params = begin()
    with permissive_promotion():
        state = optimizer.init(params)
        for _ in range(STEPS):
            value, gradient = jax.value_and_grad(value_of)(params, X, Y)
            updates, state = update(gradient, state, params, value)
            params = optax.apply_updates(params, updates)
    return params


def function(params):
    return value_of(params, X, Y)


HANDS = {
    "lbfgs": (
        optax.lbfgs(),
        lambda o: lambda g, s, p, v: o.update(g, s, p, value=v, grad=g, value_fn=function),
    ),
    "line search": (
        optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(max_backtracking_steps=10)),
        lambda o: lambda g, s, p, v: o.update(g, s, p, value=v, grad=g, value_fn=function),
    ),
    "sam": (
        optax.contrib.sam(optax.sgd(0.1), optax.contrib.normalize(), sync_period=2),
        lambda o: lambda g, s, p, v: o.update(g, s, p),
    ),
    "sam, opaque": (
        optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.05), sync_period=2, opaque_mode=True),
        lambda o: lambda g, s, p, v: o.update(g, s, p, grad_fn=lambda p, i: jax.grad(function)(p)),
    ),
    "polyak": (optax.polyak_sgd(), lambda o: lambda g, s, p, v: o.update(g, s, p, value=v)),
}


@pytest.mark.parametrize("way", ["step", "fit", "alternate"])
@pytest.mark.parametrize("name", HANDS)
def test_the_parameters_are_those_of_a_loop_by_hand(name, way):
    optimizer, update = HANDS[name]
    expected = by_hand(optimizer, update(optimizer))
    permissive = permissive_optimizer(optimizer)
    if way == "alternate":
        step = jax.jit(alternate({"a": Part(lambda p, *rest, **kw: loss(p["a"], *rest, **kw), permissive)}))
        train_state = TrainState.create({"a": begin()}, {"a": permissive.init(begin())}, seed=0)
        for _ in range(STEPS):
            train_state, _ = step(train_state, (X, Y))
        assert_close(train_state.params["a"], expected, rtol=2e-4, atol=2e-5)
        return
    train_state = TrainState.create(begin(), permissive.init(begin()), seed=0)
    if way == "fit":
        result = fit(train_state, make_step(loss, permissive), (X, Y), epochs=STEPS, batch_size=32, shuffle=False)
        train_state = result.train_state
    else:
        step = jax.jit(make_step(loss, permissive))
        for _ in range(STEPS):
            train_state, _ = step(train_state, (X, Y))
    assert_close(train_state.params, expected, rtol=2e-4, atol=2e-5)


def test_the_value_of_other_parameters_is_that_of_the_whole_batch():
    """With gradients summed over parts, too."""
    permissive = permissive_optimizer(optax.lbfgs())
    states = []
    for accumulate in (1, 4):
        step = jax.jit(make_step(loss, permissive, accumulate=accumulate))
        train_state = TrainState.create(begin(), permissive.init(begin()), seed=0)
        for _ in range(3):
            train_state, _ = step(train_state, (X, Y))
        states.append(train_state.params)
    assert_close(states[0], states[1], rtol=1e-3, atol=1e-4)


def test_lookahead_says_what_it_needs_and_does_it():
    optimizer = optax.lookahead(optax.sgd(0.1), sync_period=3, slow_step_size=0.5)
    train_state = TrainState.create(begin(), optimizer.init(begin()), seed=0)
    with pytest.raises(TypeError, match=r"optax.LookaheadParams.init_synced\(params\)"):
        make_step(loss, optimizer)(train_state, (X, Y))
    both = optax.LookaheadParams.init_synced(begin())
    train_state = TrainState.create(both, optimizer.init(both), seed=0)
    step = make_step(lambda p, *rest, **kw: loss(p.fast, *rest, **kw), optimizer)
    with permissive_promotion():
        for _ in range(3):
            train_state, _ = jax.jit(step)(train_state, (X, Y))
    plain = begin()
    for _ in range(3):
        plain = jax.tree.map(lambda p, g: p - 0.1 * g, plain, jax.grad(value_of)(plain, X, Y))
    assert_close(train_state.params.slow, jax.tree.map(lambda p: 0.5 * p, plain))
    assert_close(train_state.params.fast, jax.tree.map(lambda p: 0.5 * p, plain))


def test_an_optimizer_that_looks_its_arguments_up_gets_them():
    def update(gradients, state, params=None, **extra):
        return jax.tree.map(lambda g: -extra["value"] * g, gradients), state

    optimizer = optax.GradientTransformationExtraArgs(lambda params: (), update)
    assert "value" in argument_names(optimizer)
    after, _ = make_step(loss, optimizer)(TrainState.create(begin(), (), seed=0), (X, Y))
    value, gradient = jax.value_and_grad(value_of)(begin(), X, Y)
    assert_close(after.params, jax.tree.map(lambda g: -value * g, gradient))
