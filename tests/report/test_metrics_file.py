"""The metrics file: strict JSON for any reader, and what happens when a run is killed."""

import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from jaxnets.report import append_metrics, read_metrics
from jaxnets.report.metrics_file import drop_metrics_after


def refuse(word):
    raise AssertionError(f"{word} is not JSON")


def append(path, loss, step=1):
    append_metrics(path, step=step, epoch=step / 2, split="train", metrics={"loss": loss})


def test_rows_are_strict_json_and_numbers_that_json_lacks_come_back(tmp_path):
    path = tmp_path / "metrics.jsonl"
    losses = [0.25, math.nan, math.inf, -math.inf]
    for step, loss in enumerate(losses):
        append(path, loss, step)
    raw = [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]
    assert [row["loss"] for row in raw] == [0.25, "NaN", "Infinity", "-Infinity"]
    rows = read_metrics(path)
    np.testing.assert_array_equal([row["loss"] for row in rows], losses)
    assert [(row["step"], row["epoch"], row["split"]) for row in rows[:2]] == [(0, 0.0, "train"), (1, 0.5, "train")]


def test_arrays_become_numbers_and_lists(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics = {
        "single": jnp.float32(0.1),
        "half": jnp.bfloat16(0.5),
        "count": np.int64(3),
        "confusion": jnp.array([[1, 0], [2, jnp.nan]]),
    }
    append_metrics(path, step=1, epoch=1, split="test", metrics=metrics)
    (row,) = read_metrics(path)
    assert (row["single"], row["half"], row["count"]) == (0.1, 0.5, 3)
    np.testing.assert_array_equal(row["confusion"], [[1, 0], [2, np.nan]])


def test_each_row_is_in_the_file_at_once(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in range(3):
        append(path, 1.0, step)
        assert len(path.read_bytes().splitlines()) == step + 1


@pytest.mark.parametrize("kept", [1, 20, -1])  # from one byte of the last row to all but its line feed
def test_a_row_cut_off_by_a_kill_is_reported_and_then_removed(tmp_path, kept):
    path = tmp_path / "metrics.jsonl"
    append(path, 1.0, 1)
    whole = path.read_bytes()
    append(path, 2.0, 2)
    last = path.read_bytes()[len(whole) :]
    path.write_bytes(whole + last[:kept])
    with pytest.warns(UserWarning, match=r"metrics\.jsonl: line 2 is incomplete and was skipped"):
        assert [row["loss"] for row in read_metrics(path)] == [1.0]
    append(path, 3.0, 3)
    assert [row["loss"] for row in read_metrics(path)] == [1.0, 3.0]


def test_a_file_that_holds_only_a_torn_row_starts_afresh(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "ep')
    append(path, 3.0)
    assert [row["loss"] for row in read_metrics(path)] == [3.0]


def test_a_resumed_run_drops_what_it_will_write_again(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in (10, 20, 30):
        append(path, 1.0 / step, step)
    append_metrics(path, step=20, epoch=10, split="test", metrics={"loss": math.nan})
    kept = b"".join(path.read_bytes().splitlines(keepends=True)[:2])
    path.write_bytes(path.read_bytes() + b'{"step": 15, "ep')
    drop_metrics_after(path, 20)
    assert path.read_bytes() == kept
    drop_metrics_after(tmp_path / "missing.jsonl", 20)
    assert not (tmp_path / "missing.jsonl").exists()


def test_nothing_is_dropped_from_a_broken_file(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('not json\n{"step": 30, "epoch": 3, "split": "train"}\n')
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"metrics\.jsonl: line 1 is not JSON"):
        drop_metrics_after(path, 20)
    assert path.read_bytes() == before


DEEP = "[" * 100_000
ROW = '{"step": 1, "epoch": 1, "split": "train", "loss": '


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("not json", "is not JSON: Expecting value"),
        ("[1, 2]", "must be a JSON object, got list"),
        (DEEP, "is not JSON: maximum recursion depth"),
        (f"{ROW}{'[' * 800}{']' * 800}}}", "is not JSON: maximum recursion depth"),
        ('{"step": 1, "epoch": 1}', "must have numbers step and epoch and a string split.* got no split"),
        ('{"step": "1", "epoch": true, "split": 3}', "got step '1', epoch True, split 3"),
        ("{}", "got no step, no epoch, no split"),
        (f"{ROW}{'9' * 5000}}}", "is not JSON: Exceeds the limit"),
        (b"\xff\xfe{\0}\0", "is not JSON: 'utf-8' codec can't decode byte 0xff"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_broken_row_is_an_error_with_its_number(tmp_path, line, message):
    path = tmp_path / "metrics.jsonl"
    append(path, 1.0)
    path.write_bytes(path.read_bytes() + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    append(path, 2.0)
    before = path.read_bytes()
    for read in (read_metrics, lambda path: drop_metrics_after(path, 1)):
        with pytest.raises(ValueError, match=rf"metrics\.jsonl: line 2 .*{message}"):
            read(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"split": "valid"}, ValueError, "split must be one of train, validation, test, got 'valid'"),
        ({"metrics": {"epoch": 1.0}}, ValueError, "'epoch' is the name of a column"),
        ({"metrics": {"loss": object()}}, TypeError, "loss cannot be written as JSON: object"),
        ({"metrics": {"z": np.array(1j)}}, TypeError, "z cannot be written as JSON"),
    ],
)
def test_refused_rows_leave_no_trace(tmp_path, change, error, message):
    path = tmp_path / "metrics.jsonl"
    row = {"step": 1, "epoch": 1, "split": "train", "metrics": {"loss": 1.0}}
    with pytest.raises(error, match=message):
        append_metrics(path, **(row | change))
    assert not path.exists()
