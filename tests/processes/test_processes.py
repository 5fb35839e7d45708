"""Several processes train as one does, stop together, and leave no process waiting for one that is gone."""

import json
import signal

import numpy as np
import pytest

from jaxnets.tree import paths
from tests.processes.launch import launched
from tests.processes.program import ADAM, CNN, GPT, images, texts, train

slow = pytest.mark.slow
PROGRAM = "tests.processes.program"
SECONDS = 240  # for a launch, on a machine that does other things too


def arrays(file):
    with np.load(file) as stored:
        return {name: stored[name] for name in stored.files}


@pytest.fixture(scope="module")
def alone():
    """What one process with one device computes."""
    cnn = train(CNN, images(), ADAM)
    gpt = train(GPT, texts(), ADAM)
    return {path: np.asarray(leaf) for path, leaf in paths((cnn.train_state.params, gpt.train_state.params)).items()}


@slow
@pytest.mark.parametrize("count", [2, 4])
def test_processes_end_with_the_parameters_of_one(count, alone, tmp_path):
    with launched(count, tmp_path, PROGRAM, "train", tmp_path) as launch:
        outputs = launch.succeed(SECONDS)
    found = arrays(tmp_path / "end.npz")
    assert found.keys() == alone.keys()
    for name, expected in alone.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=2e-5, err_msg=name)

    assert all(f"{tmp_path / 'run'} " in output for output in outputs)
    fingerprints = {output.split(f"{tmp_path / 'run'} ")[1].split()[0] for output in outputs}
    assert len(fingerprints) == 1
    assert json.loads((tmp_path / "run" / "result.json").read_text())["fingerprint"] in fingerprints
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(row["split"], row["step"]) for row in rows] == [
        ("train", 4),
        ("validation", 4),
        ("train", 8),
        ("validation", 8),
    ]
    assert ["epoch 1/2" in output for output in outputs] == [True] + [False] * (count - 1)


@slow
def test_what_differs_between_processes_is_refused_and_answers_are_shared(tmp_path):
    with launched(2, tmp_path, PROGRAM, "refuse", tmp_path) as launch:
        launch.succeed(SECONDS)


@slow
def test_an_experiment_in_two_processes_reports_once(tmp_path):
    with launched(2, tmp_path, "experiments.mnist_cnn", "--smoke", "--out", tmp_path / "run") as launch:
        first, second = launch.succeed(SECONDS)
    assert "test accuracy" in first
    assert "epoch 1/1" in first
    assert "accuracy" not in second
    assert (tmp_path / "run" / "curves.png").exists()
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["split"] for row in rows] == ["train", "validation", "test"]


@slow
def test_checkpoints_that_are_incomplete_or_damaged_are_named(tmp_path):
    with launched(2, tmp_path, PROGRAM, "damage", tmp_path) as launch:
        launch.wait(SECONDS)
    outputs = [launch.output(number) for number in range(2)]
    for what in (
        "an incomplete one",
        "no record",
        "a damaged record",
        "no list of arrays",
        "a damaged list of arrays",
        "shapes of one process damaged",
        "no data",
    ):
        assert any(f"{what} is named\n" in output for output in outputs), launch.everything()
        assert all(f"{what} is named" in output for output in outputs), launch.everything()


@slow
def test_a_save_that_fails_in_one_process_ends_all(tmp_path):
    with launched(2, tmp_path, PROGRAM, "full", tmp_path) as launch:
        codes = launch.wait(SECONDS)
    assert codes == [1, 1], launch.everything()
    errors = [line for line in launch.output(0).splitlines() if line.startswith("jaxnets.errors.SaveError: ")]
    assert "File too large" in "".join(errors[-1:]), launch.everything()  # orbax's threads may print after it
    assert "OtherProcessError: saving the checkpoint failed in another process" in launch.output(1), launch.everything()


@slow
def test_a_run_of_changing_processes_that_are_stopped_and_killed_loses_nothing(tmp_path):
    """Two processes, of which one gets SIGTERM; then four, of which one is killed; then two, in a save; then one."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    run.mkdir()
    whole.mkdir()
    with launched(2, tmp_path, PROGRAM, "long", run, PAUSE="0.3", READ="1") as launch:
        launch.wait_for(0, "steps 8\n", SECONDS)
        launch.processes[1].send_signal(signal.SIGTERM)
        codes = launch.wait(60)
    assert all(codes), launch.everything()
    for number in range(2):
        assert "Interrupted: stopped after" in launch.output(number), launch.everything()
    stopped = int(launch.output(0).split("Interrupted: stopped after ")[1].split()[0])
    assert 8 <= stopped < 20

    with launched(4, tmp_path, PROGRAM, "long", run, PAUSE="0.3", READ="1") as launch:
        launch.wait_for(0, f"steps {stopped + 8}\n", SECONDS)
        launch.processes[3].kill()
        codes = launch.wait(60)
    assert all(codes), launch.everything()
    assert f"steps {stopped}\n" not in launch.output(0)  # they are not done again
    assert_others_end(launch, run, 3)

    with launched(2, tmp_path, PROGRAM, "long", run, READ="1", KILL_IN_SAVE="3") as launch:
        codes = launch.wait(60 + SECONDS)
    assert all(codes), launch.everything()
    assert_others_end(launch, run, 1)
    unfinished = list((run / "run" / "checkpoints").glob("*/*checkpoint-tmp*"))
    assert unfinished, launch.everything()

    with (
        launched(1, tmp_path, PROGRAM, "long", run, READ="1") as launch,
        launched(1, tmp_path, PROGRAM, "long", whole) as other,
    ):
        resumed = launch.succeed(SECONDS)[0]
        other.succeed(SECONDS)
    first_step = int(resumed.split("first step ")[1].split()[0])
    assert stopped + 4 <= first_step < min(int(path.name.split(".")[0]) for path in unfinished)
    assert (run / "history.txt").read_text() == (whole / "history.txt").read_text()
    steps = [
        [line.split('"loss"')[0] for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
        for folder in (run, whole)
    ]
    assert steps[0] == steps[1]
    found, expected = arrays(run / "end.npz"), arrays(whole / "end.npz")
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def assert_others_end(launch, run, gone):
    """All but the process that is gone say so, and what goes on from where."""
    for number in range(gone):
        output = launch.output(number)
        assert "another process seems to be gone" in output, launch.everything()
        assert f"they go on from the last checkpoint in {run / 'run' / 'checkpoints'}" in output
