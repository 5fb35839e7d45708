"""What users get wrong in training: each error says what came, what was expected and what to write."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import losses, make_model, metrics, nn
from jaxnets.data import augment
from jaxnets.training import (
    TrainState,
    batch_indices,
    early_stopping,
    fit,
    init_train_state,
    make_evaluate,
    make_step,
    supervised,
)
from tests.oracles import permissive_optimizer
from tests.training.problem import LOSS, MODEL, OPTIMIZER, STEP, data, start

torch = pytest.importorskip("torch")

DATA = data()


def run(train_state=None, step=STEP, examples=DATA, **settings):
    return fit(start() if train_state is None else train_state, step, examples, epochs=1, batch_size=16, **settings)


def test_a_train_state_that_was_given_to_another_run():
    train_state = start()
    result = run(train_state)
    with pytest.raises(ValueError, match=r"go on with result.train_state, or give fit a copy each time: fit\(jax.tree"):
        run(train_state)
    assert int(fit(result.train_state, STEP, DATA, epochs=2, batch_size=16).train_state.step) == 6
    again = start()
    for _ in range(2):
        run(jax.tree.map(jnp.copy, again))


def test_what_is_no_train_state():
    with pytest.raises(
        TypeError, match=r"must be a TrainState, got a dict of \['bn', 'fc1', 'fc2'\]; write fit\(init_tr"
    ):
        run(start().params)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ((torch.ones(50, 4), DATA[1]), r"got a torch.Tensor in it; write x.numpy\(\)"),
        (
            (batch for batch in [DATA]),
            r"got a builtins.generator in it; .* of an iterator together by np.concatenate",
        ),
        (iter([DATA]), r"got a builtins.list_iterator in it; .* as jaxnets.data.Source\(dataset\)"),
        (torch.utils.data.DataLoader([1, 2]), r"DataLoader in it; .* put the batches of an iterator together"),
    ],
)
def test_data_that_are_not_arrays(examples, message):
    with pytest.raises(TypeError, match=message):
        run(examples=examples)
    with pytest.raises(TypeError, match=message):
        run(evaluate=make_evaluate(LOSS), validation=examples)


def test_lists_of_numbers():
    message = r"with the number 0 in it; lists of numbers, such as labels, have to be .* np.asarray"
    with pytest.raises(ValueError, match=message):
        run(examples=(DATA[0], [0, 1] * 25))
    with pytest.raises(ValueError, match=message):
        run(evaluate=make_evaluate(LOSS), validation=(DATA[0], [0, 1] * 25))


def one_logit(loss_function):
    """A network with one output, and its loss."""

    def apply(params, state, x, *, key=None, train):
        return nn.linear(params, x)[:, 0], state

    model = make_model(nn.linear_spec(4, 1), apply)
    return model, supervised(model, loss_function)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels + 1, r"classes from 0 to 2, got 1 to 3; write labels - 1"),
        (lambda labels: labels - 1, r"classes from 0 to 2, got -1 to 1; .* weights = labels >= 0"),
        (
            lambda labels: labels * 2,
            r"classes from 0 to 2, got 0 to 4; the last axis of the logits must have one entry",
        ),
    ],
)
def test_labels_out_of_range_are_named_before_the_first_step(change, message, dtype, accumulate):
    wrong = DATA[0], change(np.asarray(DATA[1])).astype(dtype)
    flips = augment.augmented(LOSS, lambda x, *, key: -x)
    for loss in (LOSS, flips):
        with pytest.raises(ValueError, match=r"fit: data\[1\]: cross_entropy takes labels that are " + message):
            run(step=make_step(loss, OPTIMIZER, accumulate=accumulate), examples=wrong)
    with pytest.raises(ValueError, match=r"fit: validation\[1\]: cross_entropy takes labels that are " + message):
        run(evaluate=make_evaluate(LOSS, batch_size=7), validation=wrong)


@pytest.mark.parametrize(
    ("loss_function", "labels", "message"),
    [
        (
            losses.binary_cross_entropy,
            [-1, 1],
            r"binary_cross_entropy .* from 0 to 1, got -1 to 1; write \(labels \+ 1",
        ),
        (losses.binary_cross_entropy, [1, 2], "from 0 to 1, got 1 to 2; check the data"),
        (losses.hinge, [0, 1], r"hinge takes labels that are -1 or 1, got 0 to 1; write 2 \* labels - 1"),
        (losses.exponential, [-2, 1], "exponential takes labels that are -1 or 1, got -2 to 1; check the data"),
    ],
)
def test_labels_that_other_losses_do_not_take(loss_function, labels, message):
    model, loss = one_logit(loss_function)
    examples = DATA[0], np.resize(np.array(labels, np.float32), len(DATA[0]))
    with pytest.raises(ValueError, match=message):
        run(init_train_state(model, OPTIMIZER, 0), make_step(loss, OPTIMIZER), examples)


def test_labels_that_a_loss_leaves_out_may_be_anything():
    """-1 and 3, the rest right: by a mask, by weights and by a change of the labels; the loss of a step is the same."""
    labels = np.asarray(DATA[1]).astype(np.int32)
    present = np.arange(len(labels)) % 5 > 0
    marked = np.where(present, labels, np.where(np.arange(len(labels)) % 2, -1, 3)).astype(np.int32)

    def masked(outputs, targets):
        return jnp.where((targets >= 0) & (targets < 3), losses.cross_entropy(outputs, targets), 0.0)

    def shifted(outputs, targets):
        return losses.cross_entropy(outputs, targets - 1)

    def first_loss(loss_function, *examples):
        step = make_step(supervised(MODEL, loss_function), OPTIMIZER)
        result = fit(start(), step, (DATA[0], *examples), epochs=1, batch_size=len(labels))
        return result.metrics["train"]["loss"]

    mean = first_loss(losses.cross_entropy, marked, present)
    assert mean == pytest.approx(first_loss(losses.cross_entropy, labels, present), rel=1e-5)
    assert first_loss(masked, marked) == pytest.approx(mean * present.mean(), rel=1e-5)
    assert first_loss(shifted, labels + 1) == pytest.approx(first_loss(losses.cross_entropy, labels), rel=1e-5)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_integers_that_would_be_cut_to_32_bits(dtype):
    labels = np.asarray(DATA[1]).astype(dtype) + 2**32
    message = r"data: JAX has integers as u?int32, got u?int64 from 4294967296 to 4294967298, which do not fit"
    with pytest.raises(ValueError, match=message):
        run(examples=(DATA[0], labels))
    with pytest.raises(ValueError, match=message):
        run(evaluate=make_evaluate(LOSS), validation=(DATA[0], labels))
    with pytest.raises(ValueError, match=message):
        make_evaluate(LOSS)(start(), (DATA[0], labels))
    run(examples=(DATA[0], (labels - 2**32).astype(dtype)))


def test_the_message_about_many_arrays_is_short():
    examples = [np.ones(n % 2 + 3) for n in range(1000)]
    with pytest.raises(ValueError, match=r"same first axis.*\(3,\), \(4,\), \.\.\. \(1000 arrays\)$") as error:
        run(examples=examples)
    assert len(str(error.value)) < 1000
    lists = (np.asarray(DATA[0]).tolist(), np.asarray(DATA[1]).tolist())
    with pytest.raises(ValueError, match="have to be arrays: write np") as error:
        run(examples=lists)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: make_step(OPTIMIZER, LOSS),
            r"got an optimizer where the loss belongs; write make_step\(loss, optimizer\)",
        ),
        (lambda: make_step(LOSS, optax.adam), r"got the function adam; call it: optax.adam\(learning_rate=1e-3\)"),
        (lambda: make_step(LOSS, 1e-3), r"must be an optax optimizer, got 0.001; write optax.adam\(1e-3\)"),
        (lambda: make_step(MODEL, OPTIMIZER), r"loss must be a function .* got a Model of 4; supervised\(model, "),
        (
            lambda: init_train_state(MODEL, optax.sgd, 0),
            r"init_train_state: optimizer .* got the function sgd; call it",
        ),
    ],
)
def test_losses_and_optimizers_that_are_none(build, message):
    with pytest.raises(TypeError, match=message):
        build()


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (optax.sgd(0.1), "'0/count' is missing; '0/mu/bn/bias' is missing"),
        (optax.sgd(0.1, momentum=0.9), "'0/count' is missing; '0/mu/bn/bias' is missing"),
        (optax.chain(optax.clip(1.0), optax.adam(0.1)), "'0/count' is missing"),
    ],
)
def test_the_state_of_another_optimizer(other, message):
    train_state = init_train_state(MODEL, other, seed=0)
    with pytest.raises(ValueError, match=f"not that of this optimizer: {message}.*write init_train_state"):
        jax.jit(STEP)(train_state, jax.tree.map(lambda leaf: leaf[:8], DATA))


def test_an_optimizer_with_other_settings_goes_on_from_the_state():
    step = make_step(LOSS, permissive_optimizer(optax.adam(optax.cosine_decay_schedule(0.1, 10))))
    initial = init_train_state(MODEL, optax.adam(optax.constant_schedule(0.2)), seed=0)
    assert int(jax.jit(step)(initial, jax.tree.map(lambda leaf: leaf[:8], DATA))[0].step) == 1


def twice(train_state, batch):
    return STEP(STEP(train_state, batch)[0], batch)


def never(train_state, batch):
    after, measured = STEP(train_state, batch)
    return after._replace(step=train_state.step), measured


@pytest.mark.parametrize(("step", "counted"), [(twice, 6), (never, 0)])
def test_a_step_that_does_not_count_once(step, counted):
    with pytest.raises(
        ValueError, match=rf"must add 1 to train_state.step, .*; 3 steps of yours added {counted}\..* alter"
    ):
        run(step=step)


def test_a_step_of_two_that_counts_once():
    def step(train_state, batch):
        after, measured = twice(train_state, batch)
        return after._replace(step=train_state.step + 1), measured

    expected, one = start(), jax.jit(step)
    for rows in batch_indices(expected.key, 0, 3, size=50, batch_size=16):
        expected, _ = one(expected, jax.tree.map(lambda leaf, rows=rows: leaf[rows], DATA))
    trained = run(step=step).train_state
    assert int(trained.step) == 3
    assert int(trained.opt_state[0].count) == 6
    chex.assert_trees_all_close(trained.params, expected.params, rtol=1e-4, atol=1e-5)


def test_metrics_of_a_step_may_be_numbers_and_nested():
    def step(train_state, batch):
        after, _ = STEP(train_state, batch)
        mean = metrics.mean(batch[0][:, 0])
        return after, {"plain": jnp.sum(batch[0]), "parts": {"number": 2.0, "mean": mean}}

    def evaluate(train_state, examples):
        return {"parts": {"largest": jnp.max(examples[0])}}

    result = run(step=step, evaluate=evaluate, validation=DATA, shuffle=False)
    x = np.asarray(DATA[0])[:48].reshape(3, 16, 4)
    assert result.metrics["train"]["plain"] == pytest.approx(x.sum(axis=(1, 2)).mean(), rel=1e-5)
    assert result.metrics["train"]["parts/mean"] == pytest.approx(x[..., 0].mean(), rel=1e-4)
    assert result.metrics["train"]["parts/number"] == 2
    assert result.metrics["validation"] == {"parts/largest": pytest.approx(float(np.asarray(DATA[0]).max()))}
    assert sorted(result.history[0]) == ["epoch", "parts/mean", "parts/number", "plain", "split", "step"]


@pytest.mark.parametrize("measured", [jnp.ones(()), [jnp.ones(())], metrics.mean(jnp.ones(2))])
def test_metrics_without_names(measured):
    def step(train_state, batch):
        return STEP(train_state, batch)[0], measured

    with pytest.raises(TypeError, match="metrics are a dict, one number or array a name; got "):
        run(step=step)


def teacher_loss(params, state, batch, *, key, train, constants):
    outputs, state = MODEL.apply(params, state, batch[0], key=key, train=train)
    targets = batch[0] @ constants["kernel"]
    values = jnp.mean((outputs - targets) ** 2, axis=1)
    return jnp.mean(values), (state, {"loss": metrics.mean(values)})


def test_constants_reach_loss_and_evaluation_and_are_left_alone():
    teacher = {"kernel": jax.random.normal(jax.random.key(1), (4, 3))}

    def closed(params, state, batch, *, key, train):
        return teacher_loss(params, state, batch, key=key, train=train, constants=teacher)

    settings = {"validation": DATA, "shuffle": False}
    given = run(
        step=make_step(teacher_loss, OPTIMIZER), evaluate=make_evaluate(teacher_loss), constants=teacher, **settings
    )
    expected = run(step=make_step(closed, OPTIMIZER), evaluate=make_evaluate(closed), **settings)
    assert not teacher["kernel"].is_deleted()
    chex.assert_trees_all_close(given.train_state, expected.train_state, rtol=1e-4, atol=1e-5)
    assert given.metrics["validation"]["loss"] == pytest.approx(expected.metrics["validation"]["loss"], rel=1e-4)
    assert given.train_state.watch is None


def test_a_step_of_ones_own_takes_constants_and_its_numbers_are_looked_at():
    def step(train_state, batch, constants):
        params = {"w": train_state.params["w"] + constants["shift"]}
        return train_state._replace(step=train_state.step + 1, params=params), {}

    def begin():
        return TrainState.create({"w": jnp.zeros(2)}, (), seed=0)

    trained = fit(begin(), step, jnp.ones(12), epochs=1, batch_size=4, constants={"shift": jnp.array([1.0, 2.0])})
    np.testing.assert_array_equal(trained.train_state.params["w"], [3, 6])
    with pytest.raises(FloatingPointError, match="at step 0: the first bad array of params after it is 'w'"):
        fit(begin(), step, jnp.ones(12), epochs=1, batch_size=4, constants={"shift": jnp.array([1.0, jnp.inf])})


def test_callbacks_are_a_list_of_functions():
    with pytest.raises(TypeError, match=r"callbacks must be a list of functions, got function; write callbacks=\["):
        run(callbacks=twice)
    with pytest.raises(TypeError, match="fit: callbacks must be functions of an event, got "):
        run(callbacks=[3])
    heard = []
    run(callbacks=(heard.append for _ in range(1)))
    assert [event.kind for event in heard] == ["start", "steps", "epoch", "end"]


def test_evaluation_takes_a_number_of_examples():
    with pytest.raises(ValueError, match=r"make_evaluate: batch_size must be an integer of at least 1, got 2\.5"):
        make_evaluate(LOSS, batch_size=2.5)


def test_the_gain_that_early_stopping_asks_for_is_a_number():
    with pytest.raises(ValueError, match="early_stopping: min_delta must be at least 0, got nan"):
        early_stopping(min_delta=float("nan"))
