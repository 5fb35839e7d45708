"""Tables of finished runs, against numbers worked by hand."""

import json

import pytest

from experiments.support.tabulate import number, read_runs, table


def write_run(folder, seed, accuracy, commit="c" * 40, **settings):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"seed": seed, "out": str(folder), "smoke": False, **settings}))
    result = {
        "experiment": "example",
        "seed": seed,
        "metrics": {"test": {"accuracy": accuracy, "confusion": [[1, 0]]}},
        "fingerprint": f"{seed}" * 64,
        "seconds": {"compile": 1.0, "run": 10.0 * (seed + 1)},
        "commit": commit,
        "versions": {"jax": "0.10.2", "python": "3.11.7"},
        "device": {"platform": "cpu", "kind": "cpu", "count": 1},
    }
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_mean_and_deviation_over_seeds_for_each_setting(tmp_path):
    values = {2: 0.98, 0: 0.90, 1: 0.94}  # deviation with n - 1: sqrt((0.04^2 + 0^2 + 0.04^2) / 2)
    folders = [write_run(tmp_path / str(seed), seed, value, cell="gru") for seed, value in values.items()]
    folders.append(write_run(tmp_path / "other", 0, 0.5, commit=None, cell="rnn"))
    gru, rnn = table(read_runs(folders)).split("### example")[1:]
    assert "cell gru; seeds 0, 1, 2" in gru
    assert "| test accuracy | 3 | 0.9400 | 0.0400 | 0.9000 | 0.9800 |" in gru
    assert "11 to 31 s per run; jax 0.10.2, Python 3.11.7, 1 x cpu; commit cccccccccccc" in gru
    assert "0: `000000000000`, 1: `111111111111`, 2: `222222222222`" in gru
    assert "cell rnn; seeds 0\n" in rnn
    assert "| test accuracy | 1 | 0.5000 |  | 0.5000 | 0.5000 |" in rnn
    assert "commit unknown" in rnn
    assert "confusion" not in gru


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([0.5, "NaN"], "2 | nan | nan | nan | nan"),
        (["NaN", 0.5], "2 | nan | nan | nan | nan"),
        (["NaN"], "1 | nan |  | nan | nan"),
        ([0.5, "Infinity"], "2 | inf | nan | 0.5000 | inf"),
        (["-Infinity", "Infinity"], "2 | nan | nan | -inf | inf"),
        (["text", 0.5], "1 | 0.5000 |  | 0.5000 | 0.5000"),
    ],
)
def test_numbers_that_are_not_finite_stay_in_the_table(tmp_path, values, cells):
    folders = [write_run(tmp_path / str(seed), seed, value) for seed, value in enumerate(values)]
    assert f"| test accuracy | {cells} |" in table(read_runs(folders)).splitlines()


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.0000"), (-1.5, "-1.5000"), (0.001, "0.0010"), (3.21e-9, "3.2e-09")]
)
def test_small_numbers_keep_two_digits(value, text):
    assert number(value) == text


def test_a_folder_without_a_result_is_named(tmp_path):
    with pytest.raises(SystemExit, match=r"has no result\.json"):
        read_runs([tmp_path])
