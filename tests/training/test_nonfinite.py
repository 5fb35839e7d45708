"""Which numbers stop a run, which steps are skipped, and optimizers whose state is not only arrays of their own."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import losses, make_model, nn
from jaxnets.training import NonFiniteError, TrainState, fit, freeze, init_train_state, make_step, supervised
from jaxnets.training.nonfinite import find_nonfinite, nonfinite_error, start_watch
from tests.oracles import permissive_optimizer


def begin(optimizer, **params):
    params = params or {"a": jnp.ones(1), "b": jnp.ones(1)}
    return TrainState.create(params, optimizer.init(params), seed=0)


def weighted(params, state, batch, *, key, train):
    """The gradient of `a` is the first column of the batch, that of `b` the second."""
    return jnp.sum(params["a"] * batch[0, 0] + params["b"] * batch[0, 1]), (state, {"count": jnp.ones(())})


def train(loss, optimizer, rows, **options):
    examples = jnp.asarray(rows, jnp.float32)
    settings = {"epochs": 1, "batch_size": 1, "shuffle": False}
    return fit(begin(optimizer), make_step(loss, optimizer, **options), examples, **settings)


@pytest.mark.parametrize("optimizer", [optax.chain(optax.clip(1.0), optax.sgd(0.1)), optax.sign_sgd(0.1)])
def test_a_gradient_that_the_optimizer_makes_finite_again_stops_the_run(optimizer):
    rows = [[1, 1]] * 5 + [[1, np.inf]] + [[1, 1]] * 5
    with pytest.raises(
        NonFiniteError, match="at step 5: the loss is not finite; the first bad gradient is that of 'b'"
    ):
        train(weighted, optimizer, rows)


def test_a_loss_that_is_not_among_the_metrics_stops_the_run():
    def loss(params, state, batch, *, key, train):
        value, aux = weighted(params, state, batch, key=key, train=train)
        return value + jax.lax.stop_gradient(batch[0, 0] / batch[0, 0]), aux

    with pytest.raises(NonFiniteError, match="at step 2: the loss is not finite; lower") as caught:
        train(loss, optax.sgd(0.1), [[1, 1], [2, 2], [0, 1], [1, 1]])
    assert caught.value.path is None
    assert int(caught.value.train_state.step) == 2


def test_a_moment_that_overflows_stops_the_run():
    optimizer = permissive_optimizer(optax.adam(0.1))
    with pytest.raises(NonFiniteError, match="at step 3: the first bad array of opt_state after it is '0/nu/b'"):
        train(weighted, optimizer, [[1, 1]] * 3 + [[1, 1e23]])


def test_an_optimizer_may_begin_with_an_infinite_number():
    optimizer = permissive_optimizer(optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1)))
    assert np.isinf(float(optimizer.init({"a": jnp.ones(1)})[1].best_value))
    train(weighted, optimizer, [[1, 1]] * 4)


def test_a_step_around_a_step_stops_at_its_own_results():
    inner = make_step(weighted, optax.sgd(0.1))

    def step(train_state, batch):
        part = train_state._replace(params=train_state.params["net"])
        after, _ = inner(part, batch)
        return train_state._replace(step=after.step, params={"net": after.params}), {"other": jnp.ones(())}

    initial = begin(optax.sgd(0.1))
    initial = initial._replace(params={"net": initial.params})
    rows = jnp.asarray([[1, 1]] * 4 + [[1, np.inf]] + [[1, 1]], jnp.float32)
    with pytest.raises(NonFiniteError, match="at step 4: the first bad array of params after it is 'net/b'") as caught:
        fit(initial, step, rows, epochs=1, batch_size=1, shuffle=False)
    np.testing.assert_allclose(caught.value.train_state.params["net"]["b"], [1 - 4 * 0.1], rtol=1e-6)
    assert int(caught.value.train_state.step) == 4


FROZEN = {"body": nn.linear_spec(4, 8), "head": nn.linear_spec(8, 3)}


def frozen_apply(params, state, x, *, key=None, train):
    # The gradient of the square root at 0 is infinite, and 0 times it NaN: what comes before has a bad gradient.
    hidden = jnp.sqrt(jnp.maximum(nn.linear(params["body"], x), 0.0))
    return nn.linear(params["head"], hidden), state


def test_bad_gradients_of_frozen_parameters_do_not_count_and_are_not_computed():
    model = make_model(FROZEN, frozen_apply)
    loss = supervised(model, losses.cross_entropy)
    optimizer = freeze(optax.sgd(0.1), "body")
    x, labels = jnp.zeros((6, 4)), jnp.arange(6) % 3
    start = init_train_state(model, optimizer, seed=0)
    grads = jax.grad(lambda params: loss(params, {}, (x, labels), key=None, train=True)[0])(start.params)
    assert not np.isfinite(grads["body"]["kernel"]).all()
    assert np.isfinite(grads["head"]["kernel"]).all()
    step = make_step(loss, optimizer, skip_nonfinite=3)
    trained = fit(start, step, (x, labels), epochs=4, batch_size=3).train_state
    assert int(trained.skipped) == 0
    plain = jax.jit(make_step(loss, optimizer))
    fresh = init_train_state(model, optimizer, seed=0)
    products = [
        plain.lower(train_state, (x, labels)).compile().as_text().count(" dot(")
        for train_state in (fresh, fresh._replace(watch=start_watch(1)))
    ]
    assert products[0] == products[1]


def test_a_skipped_step_takes_no_part_even_if_the_optimizer_would_clip_it():
    optimizer = optax.chain(optax.clip(1.0), optax.sgd(0.1))
    rows = [[1, 1], [1, np.inf], [1, 1]]
    with pytest.warns(UserWarning, match="1 of the steps up to 3 were skipped") as warned:
        result = train(weighted, optimizer, rows, skip_nonfinite=5)
    assert warned[0].filename == __file__  # the program that called fit
    np.testing.assert_allclose(result.train_state.params["b"], [1 - 2 * 0.1], rtol=1e-6)
    assert result.metrics["train"]["count"] == 1


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.lbfgs(1e-2, linesearch=None),  # keeps the parameters themselves in its state
        optax.inject_hyperparams(optax.sgd)(learning_rate=jnp.float32(1e-2)),  # keeps the array it was given
    ],
)
def test_optimizers_that_keep_buffers_of_others_train_twice(optimizer):
    optimizer = permissive_optimizer(optimizer)
    first, second = (train(weighted, optimizer, [[1, 2]] * 4) for _ in range(2))
    chex.assert_trees_all_equal(first.train_state, second.train_state)


def test_optimizers_that_need_the_value_of_the_loss_are_given_it():
    optimizer = permissive_optimizer(
        optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=2, cooldown=0))
    )

    def flat(params, state, batch, *, key, train):
        return 0 * jnp.sum(params["a"]) + 3.0, (state, {})

    result = train(flat, optimizer, [[1, 1]] * 7)
    params = {"a": jnp.ones(1), "b": jnp.ones(1)}
    state, zeros = optimizer.init(params), jax.tree.map(jnp.zeros_like, params)
    for _ in range(7):
        _, state = optimizer.update(zeros, state, params, value=jnp.float32(3.0))
    assert float(state[1].scale) < 1
    assert float(result.train_state.opt_state[1].scale) == float(state[1].scale)


def test_losses_and_batches_that_supervised_cannot_use():
    model = make_model(nn.linear_spec(2, 3), lambda params, state, x, *, key=None, train: (nn.linear(params, x), state))
    params, state = model.init(jax.random.key(0))
    batch = jnp.ones((4, 2)), jnp.zeros(4, jnp.int32)
    mean = supervised(model, lambda outputs, targets: jnp.mean(losses.cross_entropy(outputs, targets)))
    with pytest.raises(ValueError, match=r"must give one number an example, \[batch\], got a single one"):
        mean(params, state, batch, key=None, train=True)
    with pytest.raises(TypeError, match=r"a batch is the pair \(inputs, targets\) or the triple .*, got a dict"):
        supervised(model, losses.cross_entropy)(params, state, {"x": 1, "y": 2}, key=None, train=True)


def test_complex_numbers_are_looked_at_as_a_whole():
    def path(array):
        after = TrainState.create({"n": jnp.array(3), "w": array}, (), seed=0)
        return nonfinite_error(find_nonfinite(after), after, {}).path

    assert path(jnp.array([1 + 1j * jnp.inf])) == "w"
    assert path(jnp.array([1 + 2j])) is None
