"""What the runner does with settings and run folders, with an experiment of known outcome."""

import dataclasses
import json
import signal
import sys
import time

import numpy as np
import pytest

from jaxnets.errors import SettingError
from jaxnets.experiment import Findings, TrainingSettings, check_settings, in_run_folder, runner, with_presets
from jaxnets.training import Interrupted
from jaxnets.tree import fingerprint
from tests.report import toy

PARAMS = {"w": np.arange(3.0)}
NAME = "test_runner"
"""Of the experiment: that of the file."""


@dataclasses.dataclass(frozen=True)
class Config(TrainingSettings):
    full: bool = False


@in_run_folder(full={"epochs": 100, "batch_size": 128}, smoke={"epochs": 1})
def experiment(config, folder):
    """Write a row for each epoch, and find their sum."""
    for epoch in range(config.epochs):
        folder.append_metrics(step=epoch, epoch=epoch, split="train", metrics={"loss": 1.0})
    return Findings({"test": {"sum": config.epochs}}, PARAMS, compile_seconds=0.0, first_step=7)


def read(folder, name):
    return json.loads((folder / name).read_text())


def test_the_settings_of_a_flag_are_taken_where_it_is_set_and_the_last_flag_wins():
    presets = {"full": {"epochs": 100, "batch_size": 128}, "smoke": {"epochs": 1}}
    found = {
        (full, smoke): with_presets(Config(full=full, smoke=smoke), presets)
        for full in (False, True)
        for smoke in (False, True)
    }
    assert {flags: (config.epochs, config.batch_size) for flags, config in found.items()} == {
        (False, False): (10, 64),
        (False, True): (1, 64),
        (True, False): (100, 128),
        (True, True): (1, 128),
    }


def test_the_result_is_what_was_found(tmp_path, capsys):
    result = experiment(Config(seed=3, smoke=True, out=tmp_path))
    assert result == read(tmp_path, "result.json")
    assert (result["experiment"], result["seed"], result["first_step"]) == (NAME, 3, 7)
    assert result["metrics"] == {"test": {"sum": 1}}
    assert result["fingerprint"] == fingerprint(PARAMS)
    assert (read(tmp_path, "config.json")["epochs"], read(tmp_path, "config.json")["smoke"]) == (1, True)
    shown = f"fingerprint {result['fingerprint']}\nrun folder {tmp_path}\nreport {tmp_path / 'report.html'}\n"
    assert capsys.readouterr().out == shown
    assert result["fingerprint"] in (tmp_path / "report.html").read_text()


def test_the_result_is_written_before_the_pictures_are_drawn(tmp_path):
    def draw():
        raise ValueError("no picture")

    def work(config, folder):
        return Findings({"test": {"loss": 0.5}}, PARAMS, draw=draw)

    with pytest.raises(ValueError, match="no picture"):
        runner.run_experiment(work, Config(out=tmp_path))
    assert read(tmp_path, "result.json")["metrics"] == {"test": {"loss": 0.5}}


def test_without_a_folder_it_is_named_after_the_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment(Config(seed=5))
    (folder,) = (tmp_path / "runs" / NAME).iterdir()
    assert folder.name.endswith("-seed5")


def test_a_finished_run_is_shown_and_not_run_again(tmp_path, capsys):
    first = experiment(Config(epochs=2, out=tmp_path))
    before = (tmp_path / "metrics.jsonl").read_text()
    capsys.readouterr()
    assert experiment(Config(epochs=2, out=tmp_path)) == first
    assert capsys.readouterr().out == f"this run has ended: {tmp_path / 'result.json'}\n"
    assert (tmp_path / "metrics.jsonl").read_text() == before


def test_a_stopped_run_begins_anew_unless_it_has_checkpoints(tmp_path):
    """Its rows are written again; with checkpoints, `record_metrics` knows which of them to keep."""
    for name, rows in (("anew", 2), ("resumed", 4)):
        folder = tmp_path / name
        experiment(Config(epochs=2, out=folder))
        (folder / "result.json").unlink()
        if name == "resumed":
            (folder / "checkpoints").mkdir()
        experiment(Config(epochs=2, out=folder))
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == rows


def command_line(capsys, *words, run=experiment):
    """Exit status and standard error of the experiment as a command."""
    with pytest.raises(SystemExit) as left:
        runner.main(Config, run, "What it does.", words=words, command="python -m example")
    return left.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epochs", "0"], "epochs must be at least 1, got 0"),
        (["--batch-size", "-3"], "batch_size must be at least 1, got -3"),
        (["--learning-rate", "0"], "learning_rate must be greater than 0, got 0.0"),
        (["--seed", str(2**32)], "seed must be from 0 to 2**32 - 1, got 4294967296"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(words, said, tmp_path, capsys):
    folder = tmp_path / "run"
    assert command_line(capsys, *words, "--out", str(folder)) == (2, f"python -m example: {said}\n")
    assert not folder.exists()


def test_the_folder_of_another_run_is_one_line(tmp_path, capsys):
    experiment(Config(epochs=2, out=tmp_path))
    status, said = command_line(capsys, "--epochs", "3", "--out", str(tmp_path))
    assert (status, said.count("\n")) == (1, 1)
    assert f"{tmp_path} was made with other settings: epochs 2, not 3" in said
    (tmp_path / "config.json").unlink()
    status, said = command_line(capsys, "--epochs", "3", "--out", str(tmp_path))
    assert (status, said.count("\n")) == (1, 1)
    assert f"{tmp_path} exists and is not empty" in said


def test_a_missing_file_is_one_line(tmp_path, capsys):
    @in_run_folder()
    def reads(config, folder):
        (tmp_path / "no such file").read_text()

    status, said = command_line(capsys, "--out", str(tmp_path / "run"), run=reads)
    assert (status, said.count("\n")) == (1, 1)
    assert "No such file or directory" in said


@pytest.mark.parametrize("error", [SettingError("batch_size"), FileNotFoundError("mnist")])
@pytest.mark.parametrize("rows", [0, 1])
def test_a_refused_run_leaves_no_folder_unless_something_was_measured(rows, error, tmp_path):
    @in_run_folder()
    def refused(config, folder):
        for epoch in range(rows):
            folder.append_metrics(step=epoch, epoch=epoch, split="train", metrics={"loss": 1.0})
        raise error

    with pytest.raises(type(error)):
        refused(Config(out=tmp_path / "run"))
    assert (tmp_path / "run").exists() == bool(rows)
    with pytest.raises(type(error)):  # the folder can be used again in the same process
        refused(Config(out=tmp_path / "run"))


def test_the_error_of_a_program_keeps_its_traceback(tmp_path):
    @in_run_folder()
    def wrong(config, folder):
        raise ValueError("shapes do not fit")

    with pytest.raises(ValueError, match="shapes do not fit"):
        runner.main(Config, wrong, None, words=["--out", str(tmp_path / "run")], command="python -m example")


def test_a_rule_of_a_base_class_holds_for_a_default_of_its_own():
    @dataclasses.dataclass(frozen=True)
    class Longer(TrainingSettings):
        epochs: int = 0

    with pytest.raises(SettingError, match="epochs must be at least 1, got 0"):
        check_settings(Longer())


def test_the_command_line_gives_the_settings_and_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(config):
        assert config == Config(seed=2, full=True, epochs=4)
        raise Interrupted("stopped after 9 steps", signal.SIGINT, 9)

    monkeypatch.setattr(sys, "argv", ["experiment", "--seed", "2", "--full", "--epochs", "4"])
    with pytest.raises(SystemExit) as left:
        runner.main(Config, interrupted, "What it does.")
    assert left.value.code == 130
    assert capsys.readouterr().err == "stopped after 9 steps; run the same command again to go on\n"


def test_parts_of_the_time_are_those_of_fit_and_of_drawing(tmp_path):
    trained = toy.train([])

    def work(config, folder):
        return Findings.of_fit(trained, trained.metrics, PARAMS, draw=lambda: time.sleep(0.05))

    runner.run_experiment(work, Config(out=tmp_path))
    seconds = read(tmp_path, "result.json")["seconds"]
    assert seconds["training"] + seconds["evaluation"] == pytest.approx(trained.run_seconds, abs=2e-3)
    assert seconds["evaluation"] == pytest.approx(trained.evaluate_seconds, abs=1e-3)
    assert seconds["compile"] == pytest.approx(trained.compile_seconds, abs=1e-3)
    assert seconds["drawing"] >= 0.05


def test_summaries_are_printed_and_kept(tmp_path, capsys):
    def work(config, folder):
        runner.show_summary(folder, "layers", "more layers")
        return Findings({}, PARAMS)

    runner.run_experiment(work, Config(out=tmp_path))
    assert capsys.readouterr().out.startswith("layers\nmore layers\n")
    assert (tmp_path / "summary.txt").read_text() == "layers\nmore layers\n"
