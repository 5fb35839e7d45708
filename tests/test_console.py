"""What commands have in common: the user's errors on one line, and the command as it was typed."""

import sys
from types import SimpleNamespace

import pytest

from jaxnets.console import typed_command, user_errors
from jaxnets.data import parse_idx
from jaxnets.errors import MissingPackageError, RunFolderError, SettingError


def missing_file():
    open("no such file")  # noqa: SIM115


def damaged_file():
    parse_idx(b"\x89PNG", "train-images.idx")


def raised(error):
    def fail():
        raise error

    return fail


@pytest.mark.parametrize(
    ("fail", "status", "line"),
    [
        (raised(SettingError("epochs must be at least 1, got 0")), 2, "epochs must be at least 1, got 0"),
        (raised(RunFolderError("of another run")), 1, "of another run"),
        (raised(MissingPackageError("needs the package rich", name="rich")), 1, "needs the package rich"),
        (damaged_file, 1, "train-images.idx is not an IDX file: it begins with 89 50 4e 47, not 00 00 and a type"),
        (missing_file, 1, "[Errno 2] No such file or directory: 'no such file'"),
    ],
)
def test_what_the_user_can_correct_is_one_line(fail, status, line, capsys):
    with pytest.raises(SystemExit) as left, user_errors("jaxnets train"):
        fail()
    assert left.value.code == status
    assert capsys.readouterr() == ("", f"jaxnets train: {line}\n")


@pytest.mark.parametrize("error", [ValueError("of a program"), TypeError(), ImportError(), AssertionError()])
def test_the_error_of_a_program_passes(error):
    with pytest.raises(type(error)) as passed, user_errors("jaxnets train"):
        raise error
    assert passed.value is error


@pytest.mark.parametrize(
    ("module", "script", "typed"),
    [
        ("experiments.digits_cnn", "/home/me/jaxnets/experiments/digits_cnn.py", "python -m experiments.digits_cnn"),
        ("jaxnets.__main__", "/lib/jaxnets/__main__.py", "python -m jaxnets"),
        (None, "/home/me/.venv/bin/jaxnets", "jaxnets"),
        (None, "my/train.py", "python my/train.py"),
    ],
)
def test_the_command_is_shown_as_it_was_typed(module, script, typed, monkeypatch):
    spec = None if module is None else SimpleNamespace(name=module)
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=spec))
    monkeypatch.setattr(sys, "argv", [script])
    assert typed_command() == typed
