"""Run folders: settings, results, and where a result comes from."""

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxnets
from jaxnets.report import RunFolder, append_metrics, provenance, read_metrics, record_metrics
from jaxnets.report.strict_json import write_atomically
from jaxnets.training import Event
from jaxnets.tree import fingerprint
from tests.report import toy


@dataclasses.dataclass(frozen=True)
class Optimizer:
    name: str = "adam"
    rates: tuple[float, ...] = (0.9, 0.999)


@dataclasses.dataclass(frozen=True)
class Config:
    seed: int = 4
    out: Path | None = None
    limit: float = float("inf")
    optimizer: Optimizer = Optimizer()


def test_config_holds_all_settings(tmp_path):
    run = RunFolder.create("example", Config(out=tmp_path / "run"), path=tmp_path / "run")
    assert json.loads((run.path / "config.json").read_text()) == {
        "seed": 4,
        "out": str(tmp_path / "run"),
        "limit": "Infinity",
        "optimizer": {"name": "adam", "rates": [0.9, 0.999]},
    }
    assert run.seed == 4


def test_default_folders_never_meet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [RunFolder.create("example", Config()).path for _ in range(3)]
    assert len({path.resolve() for path in paths}) == 3
    for path in paths:
        assert path.parent == Path("runs/example")
        assert path.match("[0-9]*-[0-9]*-seed4*")


def test_a_folder_in_use_is_refused(tmp_path):
    RunFolder.create("example", Config(), path=tmp_path)
    with pytest.raises(ValueError, match="exists and is not empty; choose another folder"):
        RunFolder.create("example", Config(), path=tmp_path)


def test_reopened_runs_go_on_with_the_same_settings_only(tmp_path):
    RunFolder.create("example", Config(), path=tmp_path).append_metrics(
        step=1, epoch=1, split="train", metrics={"loss": 2.0}
    )
    run = RunFolder.reopen("example", Config(), tmp_path)
    run.append_metrics(step=2, epoch=2, split="train", metrics={"loss": 1.0})
    assert [row["loss"] for row in run.read_metrics()] == [2.0, 1.0]
    with pytest.raises(ValueError, match=r"other settings: limit 'Infinity', not 3\.0, seed 4, not 5"):
        RunFolder.reopen("example", Config(seed=5, limit=3.0), tmp_path)
    with pytest.raises(FileNotFoundError):
        RunFolder.reopen("example", Config(), tmp_path / "elsewhere")


def finish(run):
    return run.write_result({"test": {"loss": 0.5}}, {}, compile_seconds=0.0, run_seconds=0.0)


@pytest.mark.parametrize(
    "content", [b"", b'{"seed": 4', b"[4]", b"\xff{}", b"[" * 100_000], ids=lambda content: content[:9]
)
def test_a_damaged_file_is_named(tmp_path, content):
    run = RunFolder.create("example", Config(), path=tmp_path)
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"config\.json is damaged: .*expected a JSON object"):
        RunFolder.reopen("example", Config(), tmp_path)
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"result\.json is damaged: .*expected a JSON object"):
        run.read_result()


def test_the_damaged_settings_of_another_run_do_not_matter(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    damaged, run = (RunFolder.create("example", Config()) for _ in range(2))
    (damaged.path / "config.json").write_bytes(b"\xff")
    assert RunFolder.open("example", Config()).path == run.path
    (run.path / "config.json").write_bytes(b"\xff")
    assert RunFolder.open("example", Config()).path not in (damaged.path, run.path)


def test_open_without_a_path_goes_on_with_the_newest_unfinished_run_of_these_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second, _ = (RunFolder.create("example", config) for config in (Config(), Config(), Config(limit=1.0)))
    assert RunFolder.open("example", Config()).path == second.path
    finish(second)
    assert RunFolder.open("example", Config()).path == first.path
    finish(first)
    assert RunFolder.open("example", Config()).path not in (first.path, second.path)


HOLD = """
import sys
from jaxnets.report import RunFolder
from tests.report.test_run_folder import Config
print(RunFolder.open("example", Config(), path=sys.argv[1] if len(sys.argv) > 1 else None).path.resolve(), flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def another_process(*args):
    """A process that opens a run folder and keeps it until it is killed; gives its number and the folder."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, "-c", HOLD, *map(str, args)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        yield process.pid, Path(process.stdout.readline().strip())
        process.kill()


def test_a_folder_in_which_another_process_works_is_refused_and_free_when_it_was_killed(tmp_path):
    with another_process(tmp_path) as (number, _), pytest.raises(ValueError, match="is in use by") as raised:
        RunFolder.open("example", Config(), path=tmp_path)
    assert re.search(rf"by process {number} on .* since 20", str(raised.value))
    assert RunFolder.open("example", Config(), path=tmp_path).path == tmp_path


def test_the_same_command_twice_at_once_works_in_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with another_process() as (_, folder):
        second = RunFolder.open("example", Config()).path.resolve()
        assert second != folder
        assert second.parent == folder.parent


def test_a_start_that_failed_does_not_refuse_the_corrected_one(tmp_path):
    RunFolder.open("example", Config(limit=-1.0), path=tmp_path)
    (tmp_path / "checkpoints").mkdir()
    run = RunFolder.open("example", Config(limit=1.0), path=tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["limit"] == 1.0
    run.append_metrics(step=1, epoch=1, split="train", metrics={"loss": 1.0})
    with pytest.raises(ValueError, match=r"limit 1\.0, not 2\.0"):
        RunFolder.open("example", Config(limit=2.0), path=tmp_path)


@pytest.mark.parametrize("content", ['{"seed": 4, "lim', "", "[4]", "\x00"])
def test_settings_that_were_cut_are_named(tmp_path, content):
    run = RunFolder.open("example", Config(), path=tmp_path)
    run.append_metrics(step=1, epoch=1, split="train", metrics={"loss": 1.0})
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=r"config\.json does not hold the settings of a run"):
        RunFolder.open("example", Config(), path=tmp_path)
    assert run.read_metrics() == [{"step": 1, "epoch": 1, "split": "train", "loss": 1.0}]


def test_paths_with_a_tilde_are_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert RunFolder.open("example", Config(), path="~/run").path == tmp_path / "run"
    append_metrics("~/m.jsonl", step=1, epoch=1, split="train", metrics={"loss": 1.0})
    assert read_metrics("~/m.jsonl")[0]["loss"] == 1.0
    assert not (tmp_path / "~").exists()


def test_open_with_a_path_makes_a_folder_then_goes_on_with_it(tmp_path):
    run = RunFolder.open("example", Config(), path=tmp_path / "run")
    assert run.read_result() is None
    written = finish(run)
    assert RunFolder.open("example", Config(), path=tmp_path / "run").read_result() == written
    with pytest.raises(ValueError, match="other settings: seed"):
        RunFolder.open("example", Config(seed=5), path=tmp_path / "run")
    moved = RunFolder.open("example", Config(out=tmp_path / "elsewhere"), path=tmp_path / "run")
    assert moved.read_result() == written
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".config.json.4711").write_text('{"see')  # of a process that was killed while it began
    assert RunFolder.open("example", Config(), path=tmp_path / "killed").read_result() is None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="exists and is not empty"):
        RunFolder.open("example", Config(), path=tmp_path / "other")


@dataclasses.dataclass
class Mutable:
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Seedless:
    rate: float = 0.1


@dataclasses.dataclass(frozen=True)
class Unwritable:
    seed: int = 0
    activation: object = np.tanh


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"seed": 1}, "frozen dataclass, got dict"),
        (Mutable(), "frozen dataclass, got Mutable"),
        (Config, "frozen dataclass, got type"),
        (Seedless(), "Seedless must have an integer field 'seed'"),
        (Unwritable(), "activation cannot be written as JSON: ufunc"),
    ],
)
def test_refused_settings_leave_no_folder(tmp_path, config, message):
    with pytest.raises(TypeError, match=message):
        RunFolder.create("example", config, path=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_result(tmp_path):
    run = RunFolder.create("example", Config(), path=tmp_path)
    params = {"kernel": np.ones((2, 2), np.float32)}
    metrics = {"train": {"loss": np.float32(0.5)}, "test": {"loss": float("nan")}}
    before = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    returned = run.write_result(metrics, params, compile_seconds=1.25, run_seconds=2.5, parts={"training": 1.75})
    after = datetime.datetime.now(datetime.UTC)
    result = json.loads((tmp_path / "result.json").read_text())
    assert returned == result
    assert result["metrics"] == {"train": {"loss": 0.5}, "test": {"loss": "NaN"}}
    assert result["fingerprint"] == fingerprint(params)
    assert (result["experiment"], result["seed"]) == ("example", 4)
    assert result["seconds"] == {"compile": 1.25, "run": 2.5, "training": 1.75}
    assert before <= datetime.datetime.fromisoformat(result["date"]) <= after
    assert result["versions"]["jax"] == importlib.metadata.version("jax")
    assert result["versions"]["jaxnets"] == jaxnets.__version__
    assert result["device"] == {
        "platform": jax.devices()[0].platform,
        "kind": jax.devices()[0].device_kind,
        "count": len(jax.devices()),
        "processor": provenance.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{os.uname().sysname} {os.uname().machine}",
    }


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "result.json"
    write_atomically(target, "old")
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_atomically(target, "new")
    assert target.read_text() == "old"


def test_command_reproduces_the_run_in_a_shell():
    arguments = ["/anywhere/python3", "-m", "experiments.digits_cnn", "--out", "it's here", "--seed", "3"]
    environment = {"HOME": "/home/me", "XLA_FLAGS": "--a=1 --b=2", "JAX_PLATFORMS": "cpu", "JAXNETS_PLAIN": "all"}
    text = provenance.command(arguments, environment)
    assert "/anywhere" not in text
    assert "HOME" not in text
    printer = "import os, sys, json; print(json.dumps([sys.argv[1:], dict(os.environ)]))"
    shell = f'python() {{ shift 2; {shlex.quote(sys.executable)} -c {shlex.quote(printer)} "$@"; }}; {text}'
    output = subprocess.run(
        ["bash", "-c", shell], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    ).stdout
    argv, seen = json.loads(output)
    assert argv == arguments[3:]
    assert {name: seen.get(name) for name in environment if name != "HOME"} == {
        name: value for name, value in environment.items() if name != "HOME"
    }


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):  # set when tests run inside a git hook
        monkeypatch.delenv(name, raising=False)

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        finished = subprocess.run(
            ["git", *identity, *arguments], cwd=tmp_path, capture_output=True, check=True, text=True
        )
        return finished.stdout.strip()

    git("init", "--quiet")
    (tmp_path / "script.py").write_text("pass\n")
    (tmp_path / ".gitignore").write_text("installed/\n")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    return tmp_path, git("rev-parse", "HEAD")


def test_commit_of_a_checkout_and_its_changes(checkout):
    folder, head = checkout
    assert provenance.commit(folder / "script.py") == head
    (folder / "script.py").write_text("print()\n")
    assert provenance.commit(folder / "script.py") == f"{head}-dirty"


def test_commit_of_a_new_script_is_dirty_and_of_an_installed_one_unknown(checkout):
    folder, head = checkout
    (folder / "installed").mkdir()
    (folder / "installed" / "package.py").write_text("")
    assert provenance.commit(folder / "installed" / "package.py") is None
    (folder / "new.py").write_text("")
    assert provenance.commit(folder / "new.py") == f"{head}-dirty"


def test_no_commit_without_checkout_or_git(checkout, tmp_path_factory, monkeypatch):
    folder, _ = checkout
    assert provenance.commit(tmp_path_factory.mktemp("plain") / "script.py") is None
    monkeypatch.setenv("PATH", "")
    assert provenance.commit(folder / "script.py") is None


def test_recorded_rows_are_the_events_of_fit(tmp_path):
    run = RunFolder.create("example", Config(), path=tmp_path)
    seen: list[Event] = []
    result = toy.train([record_metrics(run), seen.append])
    rows = run.read_metrics()
    assert [(row["step"], row["epoch"], row["split"]) for row in rows] == [
        (5, 1, "train"),
        (5, 1, "validation"),
        (10, 2, "train"),
        (10, 2, "validation"),
    ]
    told = [event for event in seen if event.kind in ("epoch", "evaluate")]
    for row, event in zip(rows, told, strict=True):
        assert {name: np.float32(row[name]) for name in event.metrics} == {
            name: np.float32(value) for name, value in event.metrics.items()
        }
    assert rows[-1]["loss"] == pytest.approx(float(result.metrics["validation"]["loss"]))


def test_import_of_report_needs_neither_matplotlib_nor_rich():
    code = "import sys, jaxnets.report; print([name for name in ('matplotlib', 'rich') if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert output.strip() == "[]"


def test_seconds_after_the_run_are_added_to_the_result(tmp_path):
    run = RunFolder.create("example", Config(), path=tmp_path)
    with pytest.raises(ValueError, match=r"has no result\.json yet; call write_result first"):
        run.add_seconds("drawing", 1.0)
    written = finish(run)
    run.add_seconds("drawing", 1.23456)
    assert run.read_result() == written | {"seconds": {"compile": 0.0, "run": 0.0, "drawing": 1.235}}


def test_texts_end_in_one_line_feed(tmp_path):
    run = RunFolder.create("example", Config(), path=tmp_path)
    run.write_text("summary.txt", "layers\n\n")
    assert (tmp_path / "summary.txt").read_text() == "layers\n"


def test_the_processor_is_what_the_system_says(tmp_path):
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nvendor_id\t: x\nmodel name\t: AMD EPYC 7B13: 64\n\nmodel name\t: another\n")
    assert provenance.processor(file) == "AMD EPYC 7B13: 64"
    file.write_text("processor\t: 0\nBogoMIPS\t: 50.00\n")  # as on ARM
    assert provenance.processor(file) == (platform.processor() or platform.machine())
    assert provenance.processor(tmp_path / "missing")
