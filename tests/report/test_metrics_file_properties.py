"""The parser of the metrics file on any rows, any cut, and any bytes."""

import json
import math
import warnings

import pytest
from hypothesis import given, settings, strategies as st

from jaxnets.report import append_metrics, read_metrics

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8).filter(
    lambda name: name not in ("step", "epoch", "split")
)
ROWS = st.lists(st.dictionaries(NAMES, st.floats() | st.integers(-(2**53), 2**53), max_size=3), max_size=4)


def write(path, rows):
    path.unlink(missing_ok=True)
    path.touch()
    for step, metrics in enumerate(rows):
        append_metrics(path, step=step, epoch=step / 3, split="validation", metrics=metrics)


def same(a, b):
    return a.keys() == b.keys() and all(
        x == b[name] or (isinstance(x, float) and math.isnan(x) and math.isnan(b[name])) for name, x in a.items()
    )


@settings(deadline=None, max_examples=60, derandomize=True)
@given(rows=ROWS)
def test_what_was_written_is_read_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("metrics") / "metrics.jsonl"
    write(path, rows)
    read = read_metrics(path)
    assert len(read) == len(rows)
    for step, (row, metrics) in enumerate(zip(read, rows, strict=True)):
        assert same(row, {"step": step, "epoch": step / 3, "split": "validation", **metrics})


@settings(deadline=None, max_examples=60, derandomize=True)
@given(rows=ROWS, share=st.floats(0, 1))
def test_a_file_cut_anywhere_gives_its_complete_rows(tmp_path_factory, rows, share):
    path = tmp_path_factory.mktemp("metrics") / "metrics.jsonl"
    write(path, rows)
    whole = path.read_bytes()
    kept = whole[: int(share * len(whole))]
    path.write_bytes(kept)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert len(read_metrics(path)) == kept.count(b"\n")
    append_metrics(path, step=9, epoch=9, split="test", metrics={})
    assert len(read_metrics(path)) == kept.count(b"\n") + 1


@settings(deadline=None, max_examples=100, derandomize=True)
@given(content=st.binary(max_size=60))
def test_any_bytes_are_rows_or_a_clear_error(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("metrics") / "metrics.jsonl"
    path.write_bytes(content)
    *lines, _ = content.split(b"\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if all(is_object(line) for line in lines):
            assert len(read_metrics(path)) == len(lines)
        else:
            with pytest.raises(ValueError, match=r"line \d+ (is not JSON|must be a JSON object)"):
                read_metrics(path)


def is_object(line):
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
