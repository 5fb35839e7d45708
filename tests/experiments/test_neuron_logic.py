"""The gates: their truth tables, and what is written of them."""

import numpy as np
import pytest

from experiments import neuron_logic
from jaxnets.report import read_metrics

TABLES = {
    "and": [0, 0, 0, 1],
    "or": [0, 1, 1, 1],
    "not": [1, 0],
    "xor_product": [0, 1, 1, 0],
    "xor_layers": [0, 1, 1, 0],
}


@pytest.mark.parametrize("name", TABLES)
def test_the_truth_table_is_that_of_logic(name):
    inputs, outputs, right = neuron_logic.truth_table(neuron_logic.GATES[name])
    bits = 1 if name == "not" else 2
    assert inputs.tolist() == [[int(bit) for bit in f"{number:0{bits}b}"] for number in range(2**bits)]
    assert outputs.tolist() == right.tolist() == TABLES[name]


def test_the_thresholds_are_the_lectures():
    for params, threshold in ((neuron_logic.AND, 1.5), (neuron_logic.OR, 0.5), (neuron_logic.NOT, -0.5)):
        assert float(params["bias"][0]) == -threshold
    assert np.abs(neuron_logic.NOT["kernel"]).tolist() == [[1]]


def test_the_run_is_written_with_the_figure_and_the_seed_changes_nothing(tmp_path, capsys):
    results = [neuron_logic.run(neuron_logic.Config(seed=seed, out=tmp_path / str(seed))) for seed in (0, 5)]
    assert results[0]["fingerprint"] == results[1]["fingerprint"]
    (row,) = read_metrics(tmp_path / "0" / "metrics.jsonl")
    expected = {f"accuracy_{name}": 1.0 for name in TABLES} | {"loss": 0.0}
    assert row == {"step": 0, "epoch": 0, "split": "test"} | expected
    assert results[0]["metrics"]["test"] == expected
    assert (tmp_path / "0" / "half_planes.png").read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "AND\n  x1 x2  output  right\n   0  0       0      0\n" in printed


def test_a_wrong_gate_is_seen(tmp_path, monkeypatch):
    broken = neuron_logic.GATES["and"]._replace(params=neuron_logic.OR)
    monkeypatch.setitem(neuron_logic.GATES, "and", broken)
    numbers = neuron_logic.run(neuron_logic.Config(out=tmp_path))["metrics"]["test"]
    assert numbers["accuracy_and"] == 0.5
    assert numbers["loss"] == pytest.approx(0.1)
