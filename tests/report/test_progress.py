"""The progress bar and the lines that stand in for it."""

import io

import numpy as np
import pytest
from rich.console import Console

from jaxnets.report import progress
from jaxnets.training import Event
from tests.report import toy

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def console(terminal):
    return Console(file=io.StringIO(), force_terminal=terminal, width=160, color_system=None, legacy_windows=False)


def event(kind, step=0, examples=0, split="train", **metrics):
    return Event(kind, step, step / 10, 30, examples, split, metrics, None)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless it is set forward."""
    now = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    return now


def tell_one_epoch(callback, clock):
    callback(event("start"))
    clock[0] += 60  # compilation
    callback(event("steps", 5, 40, loss=2.0))
    clock[0] += 0.5
    callback(event("steps", 10, 40, loss=1.0))
    clock[0] += 30  # other callbacks, evaluation
    callback(event("epoch", 10, loss=1.5, confusion=np.eye(3)))
    callback(event("evaluate", 10, split="validation", loss=1.25, accuracy=0.5))


def test_lines_hold_epoch_metrics_and_the_speed_of_training_alone(clock):
    target = console(False)
    callback = progress(target)
    tell_one_epoch(callback, clock)
    assert target.file.getvalue() == ""  # the evaluation may bring more
    clock[0] += 0.5
    callback(event("steps", 15, 40, loss=0.9))
    expected = "epoch 1/3  train: loss 1.5  validation: loss 1.25 accuracy 0.5  80 examples/s\n"
    assert target.file.getvalue() == expected
    callback(event("end", 30))
    last = target.file.getvalue()[len(expected) :]
    assert last == "30 steps  in 1 min 31 s  80 examples/s  train: loss 0.9  validation: loss 1.25 accuracy 0.5\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_an_interrupted_run_says_where(clock, terminal):
    target = console(terminal)
    callback = progress(target)
    tell_one_epoch(callback, clock)
    callback(event("end", 10))
    assert "stopped after 10 of 30 steps  in 1 min 30 s\n" in target.file.getvalue()


def test_live_bar_shows_everything_and_gives_the_terminal_back(clock):
    target = console(True)
    callback = progress(target)
    tell_one_epoch(callback, clock)
    callback.live.refresh()
    shown = target.file.getvalue()
    for part in ("epoch 1/3", "33%", "validation: loss 1.25 accuracy 0.5", "80 examples/s"):
        assert part in shown
    assert HIDE_CURSOR in shown
    assert SHOW_CURSOR not in shown
    callback(event("end", 30))
    assert SHOW_CURSOR in target.file.getvalue()
    assert target.file.getvalue().endswith("validation: loss 1.25 accuracy 0.5\n")


def test_names_in_brackets_are_not_taken_for_markup(clock):
    for terminal in (False, True):
        target = console(terminal)
        callback = progress(target)
        callback(event("start"))
        callback(event("steps", 30, 8, **{"[red]": 1.0}))
        callback(event("end", 30))
        assert "[red] 1" in target.file.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_fit_reports_every_epoch_and_can_be_run_twice(terminal):
    target = console(terminal)
    callback = progress(target)
    for epochs in (2, 3):
        toy.train([callback], epochs)
    text = target.file.getvalue()
    assert "10 steps  in" in text
    assert "15 steps  in" in text
    if not terminal:
        lines = [line.split("  ")[0] for line in text.splitlines()]
        assert lines == ["epoch 1/2", "epoch 2/2", "10 steps", "epoch 1/3", "epoch 2/3", "epoch 3/3", "15 steps"]


@pytest.mark.parametrize(("kind", "steps"), [("start", 0), ("epoch", 5)])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_error_in_training_takes_the_bar_down(kind, steps, error):
    target = console(True)

    def fail(told):
        if told.kind == kind:
            raise error

    with pytest.raises(error):
        toy.train([progress(target), fail])
    text = target.file.getvalue()
    assert text.count(SHOW_CURSOR) == text.count(HIDE_CURSOR) == 1
    assert f"stopped after {steps} of 10 steps" in text


def test_a_file_gets_plain_lines_though_colors_are_forced(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    file = io.StringIO()
    toy.train([progress(Console(file=file))])
    assert "\x1b" not in file.getvalue()
    assert [line.split("  ")[0] for line in file.getvalue().splitlines()] == ["epoch 1/2", "epoch 2/2", "10 steps"]


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    file = io.StringIO()
    toy.train([progress(Console(file=file, force_terminal=True))])
    assert [line.split("  ")[0] for line in file.getvalue().splitlines()] == ["epoch 1/2", "epoch 2/2", "10 steps"]
