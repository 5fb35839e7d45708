"""One folder holds one run: what its checkpoints are compared with, and that `best` is the best of the history."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets.training import (
    Checkpoints,
    Part,
    TrainState,
    alternate,
    checkpoint_store,
    fit,
    init_train_state,
    load_best,
    load_checkpoint,
    make_evaluate,
    make_step,
    save_checkpoint,
)
from jaxnets.tree import fingerprint
from tests.oracles import permissive_optimizer
from tests.training.problem import LOSS, MODEL, OPTIMIZER, STEP, data, start

DATA, VALIDATION = data(), data(30, seed=1)


def run(folder, *, seed=0, optimizer=OPTIMIZER, examples=DATA, epochs=2, step=None, begin=None):
    return fit(
        begin or init_train_state(MODEL, optimizer, seed),
        step or make_step(LOSS, optimizer),
        examples,
        epochs=epochs,
        batch_size=16,
        evaluate=make_evaluate(LOSS),
        validation=VALIDATION,
        checkpoints=Checkpoints(folder),
    )


def best_of(history):
    losses = [(record["loss"], record["step"]) for record in history if record["split"] == "validation"]
    return min(losses)[1]


ADAM = permissive_optimizer(optax.adam(1e-2))


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (optax.adam(1.0), "step_size -0.01, not -1.0"),
        (optax.adam(1e-2, b1=0.8), "b1 0.9, not 0.8"),
        (optax.adam(optax.constant_schedule(1e-2)), "scale_by_schedule"),
        (optax.adabelief(1e-2), "scale_by_belief"),
        (optax.nadam(1e-2), "nesterov False, not True"),
        (optax.adamw(1e-2), "add_decayed_weights"),
    ],
    ids=["rate", "decay", "schedule", "adabelief", "nadam", "adamw"],
)
def test_another_optimizer_is_named_and_nothing_is_called_damaged(tmp_path, other, named):
    run(tmp_path, optimizer=ADAM, epochs=1)
    with pytest.raises(ValueError, match="holds a run with") as raised:
        run(tmp_path, optimizer=permissive_optimizer(other))
    assert named in str(raised.value)
    assert "damaged" not in str(raised.value)
    assert "delete" not in str(raised.value)
    assert int(run(tmp_path, optimizer=permissive_optimizer(optax.adam(1e-2))).first_step) == 3


def test_the_optimizers_of_several_networks_are_compared_too(tmp_path):
    def loss(params, state, batch, *, key, train):
        return jnp.mean((params["a"] - batch) ** 2), (state, {})

    def go(rate):
        step = alternate({"a": Part(loss, optax.sgd(rate))})
        begin = TrainState.create({"a": jnp.zeros(())}, {"a": optax.sgd(rate).init(jnp.zeros(()))}, seed=0)
        checkpoints = Checkpoints(tmp_path, best=None)
        fit(begin, step, np.ones(8, np.float32), epochs=1, batch_size=4, checkpoints=checkpoints)

    go(0.5)
    with pytest.raises(ValueError, match=r"step_size -0.5, not -0.25"):
        go(0.25)


def test_the_same_number_of_other_examples_is_another_run(tmp_path):
    run(tmp_path, epochs=1)
    inputs, labels = DATA
    changed = np.array(inputs)
    changed[-1, 0] += 1
    with pytest.raises(ValueError, match="checksum of the data"):
        run(tmp_path, examples=(changed, labels))
    assert run(tmp_path, examples=(jnp.asarray(inputs), labels)).first_step == 3


def test_the_best_of_a_run_before_is_put_aside(tmp_path):
    run(tmp_path, epochs=4)
    before = fingerprint(load_best(tmp_path, like=start()).params)
    shutil.rmtree(tmp_path / "last")
    with pytest.warns(UserWarning, match="was of another run") as warned:
        result = run(tmp_path, seed=1, epochs=2)
    assert warned[0].filename == __file__  # the program that called fit
    best = load_best(tmp_path, like=start())
    assert int(best.seed) == 1
    assert int(best.step) == best_of(result.history)
    (aside,) = tmp_path.glob("best-of-run-before-*")
    kept = checkpoint_store.restore(aside, start(), None).train_state
    assert fingerprint(kept.params) == before


def test_best_is_that_of_the_history_after_every_resume(tmp_path):
    """As if a process had been killed when `last` was complete and `best` was not."""
    whole = run(tmp_path / "whole", epochs=3)
    assert best_of(whole.history) == 9
    run(tmp_path / "killed", epochs=2)
    shutil.copytree(tmp_path / "killed" / "best", tmp_path / "older")
    run(tmp_path / "killed", epochs=3)
    shutil.rmtree(tmp_path / "killed" / "best")
    shutil.move(tmp_path / "older", tmp_path / "killed" / "best")
    run(tmp_path / "killed", epochs=3)
    folders = (tmp_path / "whole", tmp_path / "killed")
    states = [load_best(folder, like=start()) for folder in folders]
    assert [int(state.step) for state in states] == [9, 9]
    assert fingerprint(states[0]) == fingerprint(states[1])


def test_a_best_of_steps_that_are_done_again_is_forgotten(tmp_path):
    run(tmp_path, epochs=1)
    shutil.copytree(tmp_path / "last", tmp_path / "earlier")
    result = run(tmp_path, epochs=3)
    shutil.rmtree(tmp_path / "last")
    shutil.move(tmp_path / "earlier", tmp_path / "last")
    run(tmp_path, epochs=2)
    best = load_best(tmp_path, like=start())
    assert int(best.step) == best_of([record for record in result.history if record["step"] <= 6])


def test_another_metric_for_the_best_does_not_cost_the_best_there_is(tmp_path):
    train_state, step = start(), make_step(LOSS, OPTIMIZER)
    settings = {"batch_size": 16, "evaluate": make_evaluate(LOSS), "validation": VALIDATION}
    run(tmp_path, epochs=3)
    before = load_best(tmp_path, like=start())
    # The loss falls, so its first value is the best one if large ones are good.
    checkpoints = Checkpoints(tmp_path, best="validation/loss", mode="max")
    with pytest.warns(UserWarning, match="does not hold the best of 'validation/loss' so far, that of step 3"):
        fit(train_state, step, DATA, epochs=3, checkpoints=checkpoints, **settings)
    assert fingerprint(load_best(tmp_path, like=start())) == fingerprint(before)


def test_keys_in_the_state_of_an_optimizer_are_saved(tmp_path):
    def optimizer():
        noise = optax.add_noise(0.01, 0.55, key=jax.random.key(1))
        return permissive_optimizer(optax.chain(noise, optax.sgd(0.1)))

    whole = run(tmp_path / "whole", optimizer=optimizer(), epochs=2)
    run(tmp_path / "parts", optimizer=optimizer(), epochs=1)
    parts = run(tmp_path / "parts", optimizer=optimizer(), epochs=2)
    assert parts.first_step == 3
    assert fingerprint(parts.train_state) == fingerprint(whole.train_state)


def test_sizes_and_seeds_may_be_integers_of_numpy(tmp_path):
    result = fit(
        init_train_state(MODEL, OPTIMIZER, np.uint32(3)),
        make_step(LOSS, OPTIMIZER, accumulate=np.int64(2)),
        DATA,
        epochs=np.int64(2),
        batch_size=np.int64(16),
        shuffle=np.bool_(True),
        steps_per_call=np.int32(2),
        evaluate_every=np.int16(1),
        evaluate=make_evaluate(LOSS),
        validation=VALIDATION,
        checkpoints=Checkpoints(tmp_path, every_steps=np.int64(2)),
    )
    assert int(result.train_state.step) == 6
    again = fit(
        init_train_state(MODEL, OPTIMIZER, 3),
        make_step(LOSS, OPTIMIZER, accumulate=2),
        DATA,
        epochs=2,
        batch_size=16,
        checkpoints=Checkpoints(tmp_path / "other", best=None),
    )
    assert fingerprint(again.train_state.params) == fingerprint(result.train_state.params)


@pytest.mark.parametrize("seed", [2**32, -1, np.int64(2**32 + 5), np.int64(-1), np.uint64(2**40), np.array(2**33)])
def test_a_seed_of_more_than_32_bits_is_refused(seed):
    with pytest.raises(ValueError, match=r"seed must be from 0 to 2\*\*32 - 1, got"):
        init_train_state(MODEL, OPTIMIZER, seed)


@pytest.mark.parametrize("seed", [1.5, np.float64(2.7), "3", jnp.float32(2), None])
def test_a_seed_that_is_no_integer_is_refused(seed):
    with pytest.raises(TypeError, match="seed must be an integer"):
        init_train_state(MODEL, OPTIMIZER, seed)


@pytest.mark.parametrize("number", [2.0, "2", 0, -1, np.float32(2)])
def test_a_size_that_is_no_positive_integer_is_refused(number):
    with pytest.raises(ValueError, match="batch_size must be an integer of at least 1"):
        fit(start(), STEP, DATA, epochs=1, batch_size=number)


def test_a_checkpoint_of_other_dtypes_is_not_converted(tmp_path):
    stored = TrainState.create({"w": jnp.array([0.5, 1.7])}, (), seed=0)
    save_checkpoint(tmp_path / "c", stored)
    for other in (jnp.int32, jnp.bfloat16, jnp.float16):
        with pytest.raises(ValueError, match=r"params/w is float32 \[2\], not"):
            load_checkpoint(tmp_path / "c", like=TrainState.create({"w": jnp.zeros(2, other)}, (), seed=0))
    assert fingerprint(load_checkpoint(tmp_path / "c", like=stored)) == fingerprint(stored)


def test_files_that_may_not_be_read_are_not_called_damaged(tmp_path, monkeypatch):
    run(tmp_path, epochs=1)

    def refuse(*_, **__):
        raise PermissionError("Permission denied")

    monkeypatch.setattr("orbax.checkpoint.CheckpointManager.restore", refuse)
    with pytest.raises(PermissionError, match="may not be read"):
        run(tmp_path, epochs=2)


def test_a_save_that_orbax_refuses_is_an_error(tmp_path):
    run(tmp_path, epochs=2)
    progress = checkpoint_store.Progress(start(), None, ())
    with Checkpoints(tmp_path, best=None) as checkpoints, pytest.raises(ValueError, match="step 0 was not saved"):
        checkpoints.save_last(progress)
