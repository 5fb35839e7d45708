"""What a run does not go on from, and which settings `fit` refuses before the first step."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxnets import metrics
from jaxnets.training import (
    Checkpoints,
    Interrupted,
    NonFiniteError,
    TrainState,
    compile_step,
    early_stopping,
    fit,
    init_train_state,
    load_checkpoint,
    load_last,
    make_evaluate,
    make_step,
    save_checkpoint,
)
from jaxnets.training.checkpoint_store import Progress
from tests.forms import needs_devices
from tests.oracles import permissive_optimizer
from tests.training.problem import LOSS, MODEL, OPTIMIZER, STEP, data, start

DATA, VALIDATION = data(), data(30, seed=1)


def run(folder, seed=0, step=STEP, examples=DATA, **settings):
    settings = {"epochs": 2, "batch_size": 16, "evaluate": make_evaluate(LOSS), "validation": VALIDATION, **settings}
    checkpoints = settings.pop("checkpoints", None) or Checkpoints(folder)
    return fit(start(seed), step, examples, checkpoints=checkpoints, **settings)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "holds a run with seed 0, not 1; to go on with it take the same, for a new run another folder"),
        ({"batch_size": 10}, "batch_size 16, not 10"),
        ({"examples": data(80)}, "examples 50, not 80"),
        ({"shuffle": False}, "shuffle True, not False"),
        ({"epochs": 1}, "6 steps are done, which is more than epochs=1 of 3 steps"),
    ],
)
def test_a_folder_is_of_one_run(tmp_path, change, message):
    run(tmp_path)
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **change)
    assert int(load_last(tmp_path, like=start()).step) == 6


def test_a_schedule_that_changes_when_it_is_called_is_still_the_same(tmp_path):
    """The closure of optax's cosine schedule has 12 steps before the first call and 12.0 steps after it."""
    optimizer = permissive_optimizer(optax.adam(optax.cosine_decay_schedule(0.01, 12)))

    def train(folder, epochs):
        begin, step = init_train_state(MODEL, optimizer, 0), make_step(LOSS, optimizer)
        result = fit(begin, step, DATA, epochs=epochs, batch_size=16, checkpoints=Checkpoints(tmp_path / folder))
        return result.train_state.params

    train("stopped", 2)
    chex.assert_trees_all_equal(train("stopped", 4), train("whole", 4))


def test_another_model_optimizer_or_dtype_is_named(tmp_path):
    run(tmp_path)
    params, state = MODEL.init(jax.random.key(0))
    sgd = TrainState.create(params, optax.sgd(0.1).init(params), state=state, seed=0)
    with pytest.raises(ValueError, match=r"another model or optimizer: train_state/opt_state/0/count is not wanted"):
        load_last(tmp_path, like=sgd)
    wide = {**start().params, "fc1": {"kernel": jnp.zeros((4, 9))}}
    with pytest.raises(ValueError, match=r"params/fc1/kernel is float32 \[4, 8\], not float32 \[4, 9\]"):
        load_last(tmp_path, like=start()._replace(params=wide))
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), start().params)
    with pytest.raises(ValueError, match=r"params/bn/offset is float32 \[8\], not bfloat16 \[8\]|not bfloat16"):
        load_last(tmp_path, like=start()._replace(params=half))


@pytest.mark.slow
def test_a_damaged_checkpoint_says_where(tmp_path):
    run(tmp_path)
    for stored in (tmp_path / "last" / "6" / "train_state").rglob("d/*"):
        stored.write_bytes(stored.read_bytes()[:10])
    # In a process of its own: what reads the other arrays goes on in the background, and complains there.
    program = (
        "from jaxnets.training import load_last\n"
        "from tests.training.problem import start\n"
        f"load_last({str(tmp_path)!r}, like=start())"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == 1
    assert f"the checkpoint of step 6 in {tmp_path / 'last'} cannot be read: " in done.stderr
    assert f"if a file of it is damaged, move {tmp_path} away to begin anew" in done.stderr
    shutil.rmtree(tmp_path / "last")
    assert run(tmp_path, epochs=1).first_step == 0


DAMAGES = [
    ("_METADATA", lambda content: b"{}"),
    ("_METADATA", lambda content: content[:-1]),
    ("_METADATA", lambda content: content.replace(b'"key":', b'"kez":')),
    ("_METADATA", lambda content: b"\xff"),
    ("_METADATA", None),
    ("_CHECKPOINT_METADATA", lambda content: b'{"init_timestamp_nsecs": 1.5}'),
]


def damage(folder, name, change):
    for path in list(folder.rglob(name)):
        path.unlink() if change is None else path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(("name", "change"), DAMAGES)
def test_whatever_file_of_a_checkpoint_is_damaged_the_folder_is_named(tmp_path, name, change):
    alone = tmp_path / "alone"
    save_checkpoint(alone, start())
    with Checkpoints(tmp_path / "run", best=None) as checkpoints:
        checkpoints.save_last(Progress(start(), None, []))
    damage(tmp_path, name, change)
    with pytest.raises(ValueError, match=r"(?s)cannot be read: .*move .* away") as caught:
        load_checkpoint(alone, like=start())
    assert str(alone) in str(caught.value)
    with pytest.raises(ValueError, match=r"(?s)cannot be read: .*move .* away") as caught:
        load_last(tmp_path / "run", like=start())
    assert str(tmp_path / "run" / "last") in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (b'"history"', b'"hystory"', "it has no history of a run"),
        (b'"arrays": {', b'"arrays": [], "others": {', "it has no arrays of a run"),
        (b'"float32", "values"', b'"U99999999", "values"', "<U99999999 is no dtype of a metric"),
        (b'"float32", "values"', b'"float33", "values"', "float33"),
        (b'"float32", "values"', b'"float32", "value"', "KeyError: 'values'"),
        (b'"train": {', b'"train": [], "test": {', "AttributeError"),
    ],
)
def test_the_damaged_record_of_a_run_is_named(tmp_path, before, after, message):
    values = {"train": {"confusion": np.eye(2, dtype=np.float32)}}
    with Checkpoints(tmp_path, best=None) as checkpoints:
        checkpoints.save_last(Progress(start(), None, [], values))
    (record,) = tmp_path.glob("last/*/run/metadata")
    content = record.read_bytes()
    assert before in content
    record.write_bytes(content.replace(before, after))
    with pytest.raises(ValueError, match=rf"the checkpoint of step 0 in .*last cannot be read: .*{message}"):
        load_last(tmp_path, like=start())


@needs_devices(8)
def test_a_checkpoint_is_read_onto_the_devices_where_like_lies(tmp_path):
    result = run(tmp_path / "run")
    save_checkpoint(tmp_path / "alone", result.train_state)
    like = jax.device_put(start(), jax.devices()[3])
    for loaded in (load_last(tmp_path / "run", like=like), load_checkpoint(tmp_path / "alone", like=like)):
        assert {device for leaf in jax.tree.leaves(loaded) for device in leaf.devices()} == {jax.devices()[3]}
        chex.assert_trees_all_equal(loaded, result.train_state)
    shapes = jax.eval_shape(start)
    for loaded in (load_last(tmp_path / "run", like=shapes), load_checkpoint(tmp_path / "alone", like=shapes)):
        chex.assert_trees_all_equal(loaded, result.train_state)
    on_host = start()._replace(params=jax.tree.map(np.asarray, start().params))
    chex.assert_trees_all_equal(load_last(tmp_path / "run", like=on_host), result.train_state)


def test_arrays_among_the_metrics_are_there_again_after_a_finished_run(tmp_path):
    def with_confusion(params, state, batch, *, key, train):
        value, (state, measured) = LOSS(params, state, batch, key=key, train=train)
        logits, _ = MODEL.apply(params, state, batch[0], train=False)
        confusion = metrics.confusion_matrix(jnp.argmax(logits, 1), batch[1], classes=3)
        return value, (state, {**measured, "confusion": confusion})

    settings = {"step": make_step(with_confusion, optax.sgd(0.1)), "evaluate": make_evaluate(with_confusion)}

    def again():
        params, state = MODEL.init(jax.random.key(0))
        begin = TrainState.create(params, optax.sgd(0.1).init(params), state=state, seed=0)
        step, evaluate = settings["step"], settings["evaluate"]
        options = {"epochs": 1, "batch_size": 16, "evaluate": evaluate, "validation": VALIDATION}
        return fit(begin, step, DATA, checkpoints=Checkpoints(tmp_path), **options).metrics

    first, second = again(), again()
    assert first["validation"]["confusion"].sum() == 30
    for split in ("train", "validation"):
        chex.assert_trees_all_equal(first[split], second[split])
        assert second[split]["confusion"].dtype == first[split]["confusion"].dtype


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: early_stopping("val/loss"), "early_stopping: a metric is named 'train/...' or 'validation/...'"),
        (lambda: early_stopping("validation/accuracy"), "say mode='max' or mode='min'"),
        (lambda: Checkpoints("x", best="loss"), "Checkpoints: a metric is named"),
        (lambda: Checkpoints("x", best="validation/accuracy"), "say mode='max' or mode='min'"),
        (lambda: Checkpoints(__file__), "is a file; name a folder"),
    ],
)
def test_names_of_metrics_are_checked_at_once(build, message):
    with pytest.raises((ValueError, NotADirectoryError), match=message):
        build()


def test_metrics_that_are_not_measured_are_refused_before_the_first_step(tmp_path):
    with pytest.raises(ValueError, match="there is no metric 'validation/f1'; there are validation/accuracy, validati"):
        run(tmp_path, checkpoints=Checkpoints(tmp_path, best="validation/f1", mode="max"))
    with pytest.raises(ValueError, match="'validation/loss' is not measured in this run, only train"):
        fit(start(), STEP, DATA, epochs=1, batch_size=16, callbacks=[early_stopping()])
    assert not (tmp_path / "last").exists()


def test_the_best_of_the_training_metrics_needs_no_validation(tmp_path):
    seen = {}

    def note(event):
        if event.kind == "epoch":
            seen[event.metrics["loss"]] = event.step

    fit(
        start(),
        STEP,
        DATA,
        epochs=3,
        batch_size=16,
        callbacks=[note],
        checkpoints=Checkpoints(tmp_path, best="train/loss"),
    )
    assert (tmp_path / "best" / str(seen[min(seen)])).is_dir()


@pytest.mark.parametrize(
    ("measured", "error", "message"),
    [
        ({"epoch": 1.0}, ValueError, "'epoch' is a column of the history; give the metric another name"),
        (metrics.mean(jnp.ones(2)), TypeError, "one number or array a name"),
    ],
)
def test_metrics_are_a_dict_with_names_of_their_own(measured, error, message):
    def loss(params, state, batch, *, key, train):
        value, (state, _) = LOSS(params, state, batch, key=key, train=train)
        return value, (state, jax.tree.map(jnp.asarray, measured))

    with pytest.raises(error, match=message):
        fit(start(), make_step(loss, OPTIMIZER), DATA, epochs=1, batch_size=16)


@pytest.mark.parametrize("epochs", [0, -1, 2.5])
def test_epochs_are_whole(epochs):
    with pytest.raises(ValueError, match="epochs must be an integer of at least 1"):
        fit(start(), STEP, DATA, epochs=epochs, batch_size=16)


def test_nothing_to_evaluate_is_refused():
    none = jax.tree.map(lambda leaf: leaf[:0], VALIDATION)
    with pytest.raises(ValueError, match="there is no example to evaluate"):
        run_plain(evaluate=make_evaluate(LOSS), validation=none)


def run_plain(step=STEP, **settings):
    return fit(start(), step, DATA, **{"epochs": 2, "batch_size": 16, **settings})


def test_what_callbacks_return():
    stops = [np.bool_(event == 2) for event in range(10)]
    result = run_plain(callbacks=[lambda event: event.kind == "steps" and stops.pop(0)], steps_per_call=1)
    assert int(result.train_state.step) == 3
    with pytest.raises(TypeError, match="a callback returns True to end the run, or False or None, got int"):
        run_plain(callbacks=[lambda event: 1])


def test_a_callback_that_ends_the_run_in_an_epoch_leaves_a_checkpoint(tmp_path):
    whole = run(tmp_path / "whole", steps_per_call=1)
    first = run(tmp_path / "a", steps_per_call=1, callbacks=[lambda event: event.kind == "steps"])
    assert int(first.train_state.step) == 1
    rest = run(tmp_path / "a", steps_per_call=1)
    assert rest.first_step == 1
    chex.assert_trees_all_equal(rest.train_state, whole.train_state)
    assert rest.history == whole.history


def test_a_signal_in_the_last_dispatch_is_not_swallowed(tmp_path):
    def stop(event):
        if event.kind == "evaluate" and event.step == 6:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped after 6 of 6 steps"):
        run(tmp_path, callbacks=[stop])
    assert run(tmp_path).first_step == 6


def test_after_an_error_the_end_event_has_the_last_good_state():
    x, labels = DATA
    ends = []

    def note(event):
        if event.kind == "end":
            ends.append((event.step, np.asarray(event.train_state.params["fc1"]["kernel"])))

    bad = x.at[20].set(jnp.nan), labels  # in the second step
    with pytest.raises(NonFiniteError) as caught:
        fit(start(), STEP, bad, epochs=1, batch_size=16, shuffle=False, callbacks=[note])
    good = fit(start(), STEP, (x[:16], labels[:16]), epochs=1, batch_size=16, shuffle=False).train_state
    assert ends[0][0] == int(caught.value.train_state.step) == int(good.step) == 1
    np.testing.assert_allclose(ends[0][1], good.params["fc1"]["kernel"], rtol=1e-6)


def test_a_step_that_is_compiled_already_is_refused():
    with pytest.raises(
        TypeError, match=r"so pass the step itself: make_step\(...\), not jax.jit, compile_step or pmap_step of it"
    ):
        run_plain(compile_step(STEP))


def test_the_numbers_of_a_run_with_another_step_function_are_checked_too():
    """A step that is no `make_step`'s tells nothing of its gradients; its results are still looked at."""

    def step(train_state, batch):
        params = jax.tree.map(lambda leaf: leaf / (train_state.step != 4).astype(leaf.dtype), train_state.params)
        return train_state._replace(step=train_state.step + 1, params=params), {}

    with pytest.raises(NonFiniteError, match="at step 4: the first bad array of params after it is 'bn/") as caught:
        run_plain(step)
    assert caught.value.step == 4


def test_arrays_without_entries_are_refused_before_the_first_step(tmp_path):
    params = {"kernel": jnp.zeros((0, 3))}
    begin = TrainState.create(params, (), seed=0)
    message = r"params/kernel is float32\[0, 3\], which a checkpoint cannot hold"
    with pytest.raises(ValueError, match=f"save_checkpoint: {message}"):
        save_checkpoint(tmp_path / "one", begin)
    with pytest.raises(ValueError, match=f"fit: {message}"):
        fit(begin, lambda *_: None, DATA, epochs=1, batch_size=16, checkpoints=Checkpoints(tmp_path / "run"))


def test_a_signal_before_the_first_step_leaves_a_checkpoint(tmp_path):
    def stop(event):
        if event.kind == "start":
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped after 0 of 6 steps; the checkpoint is in"):
        run(tmp_path, callbacks=[stop])
    chex.assert_trees_all_equal(load_last(tmp_path, like=start()).params, start().params)
    chex.assert_trees_all_equal(run(tmp_path).train_state.params, run(tmp_path / "whole").train_state.params)


def test_random_keys_may_be_data(tmp_path):
    def step(train_state, batch):
        noise = jax.vmap(jax.random.normal)(batch)
        return train_state._replace(step=train_state.step + 1), {"noise": metrics.mean(noise)}

    def train(seed):
        begin, keys = TrainState.create({}, (), seed=0), jax.random.split(jax.random.key(seed), 10)
        return fit(begin, step, keys, epochs=1, batch_size=5, checkpoints=Checkpoints(tmp_path, best=None))

    train(1)
    train(1)
    with pytest.raises(ValueError, match="checksum of the data"):
        train(2)
