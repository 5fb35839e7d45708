"""A run that is killed, interrupted or gone wrong, and started again, ends with the bits of one that never stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.training import (
    Checkpoints,
    Interrupted,
    NonFiniteError,
    TrainState,
    early_stopping,
    fit,
    load_best,
    load_last,
    make_evaluate,
    make_step,
)
from jaxnets.training.history import epochs_without_gain, is_best, values_of
from tests.training.problem import LOSS, MODEL, OPTIMIZER, STEP, data, start

DATA, VALIDATION = data(), data(30, seed=1)


def launch(folder, pause=0.0, cache=None):
    """Start a run, which takes compiled programs from a folder, if there is one, and adds its own."""
    command = [sys.executable, "-m", "tests.training.killed_run", str(folder), str(pause)]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parents[2])}
    environment.pop("XLA_FLAGS", None)
    if cache:
        environment |= {"JAX_COMPILATION_CACHE_DIR": str(cache), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def wait_for(process, line):
    for seen in process.stdout:
        if seen.strip() == line:
            return
    raise RuntimeError(f"the process ended before {line!r}:\n{process.stderr.read()}")


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


def end(folder):
    with np.load(folder / "end.npz") as file:
        return {name: file[name] for name in file.files}


def assert_same_bits(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype
        assert a[name].tobytes() == b[name].tobytes(), name


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture(scope="module")
def never_stopped(cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    finish(launch(folder, cache=cache))
    return end(folder)


@pytest.mark.slow
def test_a_killed_process_started_again_gives_the_same_bits(never_stopped, tmp_path):
    """Although each process compiles anew."""
    for line in ("steps 9", "evaluate 12", "steps 45"):
        process = launch(tmp_path, pause=0.05)
        wait_for(process, line)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "end.npz").exists()
    first = finish(launch(tmp_path)).splitlines()[0]
    assert first.startswith("start ")
    assert int(first.split()[1]) > 24
    assert_same_bits(end(tmp_path), never_stopped)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_saves_and_leaves_and_the_same_command_goes_on(number, cache, never_stopped, tmp_path):
    process = launch(tmp_path, pause=0.05, cache=cache)
    wait_for(process, "steps 21")
    process.send_signal(number)
    output, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "Interrupted: stopped after" in errors
    stopped = next(line for line in output.splitlines() if line.startswith("end "))
    resumed = finish(launch(tmp_path, cache=cache))
    assert resumed.splitlines()[0] == f"start {stopped.split()[1]}"
    assert_same_bits(end(tmp_path), never_stopped)


def run(folder, epochs=6, train_state=None, **settings):
    settings = {"evaluate": make_evaluate(LOSS), "validation": VALIDATION, "batch_size": 16, **settings}
    checkpoints = Checkpoints(folder, **settings.pop("checkpoint_settings", {}))
    return fit(train_state or start(), STEP, DATA, epochs=epochs, checkpoints=checkpoints, **settings)


def test_the_last_and_the_best_checkpoint_hold_what_they_say(tmp_path):
    seen = {}

    def note(event):
        if event.kind == "evaluate":
            seen[event.metrics["loss"]] = jnp.copy(event.train_state.params["fc2"]["kernel"])

    result = run(tmp_path, callbacks=[note])
    chex.assert_trees_all_equal(load_last(tmp_path, like=start(5)), result.train_state)
    best = load_best(tmp_path, like=start(5))
    np.testing.assert_array_equal(best.params["fc2"]["kernel"], seen[min(seen)])
    validation = [record for record in result.history if record["split"] == "validation"]
    assert [record["loss"] for record in validation] == list(seen)


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = run(tmp_path)
    kinds = []
    again = run(tmp_path, callbacks=[lambda event: kinds.append(event.kind)])
    assert kinds == ["start", "end"]
    chex.assert_trees_all_equal(again.train_state, first.train_state)
    assert again.history == first.history
    assert again.metrics == first.metrics


def test_more_epochs_go_on_where_the_run_ended(tmp_path):
    run(tmp_path / "a", epochs=2)
    longer = run(tmp_path / "a", epochs=5)
    whole = run(tmp_path / "b", epochs=5)
    chex.assert_trees_all_equal(longer.train_state, whole.train_state)
    assert longer.history == whole.history


def test_a_checkpoint_in_the_middle_of_an_epoch_keeps_the_metrics_of_its_first_half(tmp_path):
    def stop(event):
        if event.kind == "steps" and event.step == 4:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted, match="stopped after 4 of 18 steps; the checkpoint is in") as caught:
        run(tmp_path / "a", steps_per_call=1, callbacks=[stop])
    assert (caught.value.signal_number, caught.value.step) == (signal.SIGTERM, 4)
    resumed = run(tmp_path / "a", steps_per_call=1)
    whole = run(tmp_path / "b", steps_per_call=1)
    chex.assert_trees_all_equal(resumed.train_state, whole.train_state)
    assert resumed.history == whole.history


def test_signals_act_as_ever_without_checkpoints_and_after_a_run(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    run(tmp_path)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before

    def interrupt(event):
        if event.kind == "steps":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        fit(start(), STEP, DATA, epochs=2, batch_size=16, callbacks=[interrupt])
    assert not isinstance(caught.value, Interrupted)


def test_another_network_is_refused(tmp_path):
    run(tmp_path, epochs=1)
    other = start()._replace(params={"fc9": jnp.ones(3)})
    with pytest.raises(ValueError, match=r"fc9|structure"):
        load_last(tmp_path, like=other)
    with pytest.raises(FileNotFoundError, match="no complete checkpoint"):
        load_best(tmp_path / "none", like=start())


@pytest.mark.slow
def test_early_stopping_ends_where_the_rule_says_also_when_resumed(tmp_path):
    losses = [3.0, 2.0, 2.5, 1.99, 2.2, 2.3, 1.0, 0.5]

    def measured(train_state, examples):
        from jaxnets import metrics

        epoch = train_state.step // 3 - 1
        return {"loss": metrics.mean(jnp.take(jnp.array(losses), epoch))}

    stop = early_stopping(patience=2, min_delta=0.05)
    whole = run(tmp_path / "a", epochs=8, evaluate=measured, callbacks=[stop])
    # After 2.0 neither 2.5 nor 1.99 is better by 0.05.
    assert int(whole.train_state.step) == 12
    run(tmp_path / "b", epochs=3, evaluate=measured, callbacks=[stop])
    resumed = run(tmp_path / "b", epochs=8, evaluate=measured, callbacks=[stop])
    assert resumed.history == whole.history
    assert run(tmp_path / "b", epochs=8, evaluate=measured, callbacks=[stop]).history == whole.history
    best = load_best(tmp_path / "a", like=start())
    assert int(best.step) == 12


def test_the_rules_on_histories():
    assert epochs_without_gain([]) == 0
    assert epochs_without_gain([1.0, np.nan, np.nan]) == 2
    assert epochs_without_gain([0.1, 0.3, 0.2], "max") == 1
    records = [{"step": 1, "epoch": 1, "split": "validation", "loss": np.nan}]
    assert not is_best(records, "validation/loss")
    with pytest.raises(ValueError, match="no metric 'validation/f1'; there are validation/loss"):
        values_of(records, "validation/f1")
    with pytest.raises(ValueError, match="patience must be an integer of at least 1, got 0"):
        early_stopping(patience=0)
    with pytest.raises(ValueError, match="mode must be 'min' or 'max', got 'low'"):
        early_stopping(mode="low")


def loss_with_a_bad_gradient(params, state, batch, *, key, train):
    return jnp.sum(params["fine"] ** 2) + jnp.sum(jnp.sqrt(params["root"] * batch[0])), (state, {})


def test_a_bad_gradient_names_the_step_and_the_parameter_and_leaves_the_checkpoint(tmp_path):
    import optax

    optimizer = optax.sgd(0.01)

    def begin():
        params = {"fine": jnp.ones(2), "root": jnp.ones(1)}
        return TrainState.create(params, optimizer.init(params), seed=0)

    examples = jnp.ones(20).at[13].set(0.0)  # its loss is finite, its gradient 1/0
    settings = {"epochs": 2, "batch_size": 1, "shuffle": False, "steps_per_call": 5}
    step = make_step(loss_with_a_bad_gradient, optimizer)
    with pytest.raises(
        NonFiniteError, match="went wrong at step 13: the first bad gradient is that of 'root'"
    ) as caught:
        fit(begin(), step, examples, checkpoints=Checkpoints(tmp_path, best=None, every_steps=5), **settings)
    assert (caught.value.step, caught.value.path) == (13, "root")
    assert int(caught.value.train_state.step) == 13
    assert np.isfinite(caught.value.train_state.params["root"]).all()
    saved = load_last(tmp_path, like=begin())
    assert int(saved.step) == 10
    expected = fit(begin(), step, examples[:10], **{**settings, "epochs": 1}).train_state
    chex.assert_trees_all_equal(saved.params, expected.params)


def test_skipped_steps_are_told_and_the_bound_holds():
    x, labels = DATA
    bad = (x.at[7].set(jnp.nan), labels)
    settings = {"epochs": 3, "batch_size": 16, "shuffle": False}
    with pytest.warns(UserWarning, match=r"1 of the steps up to . were skipped") as warned:
        result = fit(start(), make_step(LOSS, OPTIMIZER, skip_nonfinite=3), bad, **settings)
    assert int(result.train_state.skipped) == 3
    assert "; 3 in all" in str(warned[-1].message)
    assert np.isfinite(result.metrics["train"]["loss"])
    with pytest.warns(UserWarning, match="skipped"), pytest.raises(NonFiniteError, match="went wrong at step 6"):
        fit(start(), make_step(LOSS, OPTIMIZER, skip_nonfinite=2), bad, **settings)
    assert MODEL.apply(result.train_state.params, result.train_state.state, x[:1], train=False)[0].shape == (1, 3)
