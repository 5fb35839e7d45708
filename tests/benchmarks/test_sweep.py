"""The sweep: its programs agree in three libraries, it draws reproducibly, continues, and sums up right."""

import functools
import json

import jax
import numpy as np
import pytest
import torch

from benchmarks import __main__ as command
from benchmarks.sweep import measure, report
from benchmarks.sweep.case import Case, Cell

SETTINGS = {
    "convolution": {"kernel": 3, "stride": 2, "batch": 2, "size": 5, "in_channels": 2, "channels": 3},
    "product": {"rows": 3, "in_features": 4, "out_features": 2},
    "attention": {"causal": True, "batch": 2, "positions": 5, "heads": 3, "head_dim": 4},
    "recurrent": {"layer": "GRU", "batch": 2, "steps": 4, "in_features": 3, "units": 5},
    "LSTM": {"layer": "LSTM", "batch": 2, "steps": 4, "in_features": 3, "units": 5},
}


@pytest.fixture(autouse=True)
def settings_of_programs():
    """Plain JAX is written as users write it, with the promotion that JAX allows them."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("name", SETTINGS)
def test_programs_of_three_libraries_agree(name):
    operation = measure.OPERATIONS["recurrent" if name == "LSTM" else name]
    calls = measure.prepare(operation.case(**SETTINGS[name]))
    assert {"jaxnets", "jax", "pytorch"} <= set(calls)
    measure.check(calls)


def test_a_program_with_other_gradients_is_named():
    """All of them compute the square; the gradient of one is that of a constant times x."""
    programs = {"jaxnets": lambda x: x * x, "jax": lambda x: x * x, "pytorch": lambda x: x * x.detach()}
    calls = measure.prepare(Case({"x": (3,)}, programs, {}))
    with pytest.raises(RuntimeError, match="pytorch differs from jaxnets"):
        measure.check(calls)


def test_shapes_are_those_of_the_row_and_the_column_and_follow_from_the_seed():
    cells = measure.all_cells(0)
    assert cells == measure.all_cells(0)
    other = measure.all_cells(1)
    assert sum(cell in other for cell in cells) < len(cells) / 10
    assert len({cell[:3] for cell in cells}) == len(cells) == 200
    for cell in cells:
        if cell.operation == "convolution":
            words = f"{cell.row}\n{cell.column}".replace(",", "").split()
            (channels, sizes), settings = (words[-2].split("-"), words[-1].split("-")), cell.settings
            assert cell.row == f"{settings['kernel']} x {settings['kernel']}, stride {settings['stride']}"
            assert int(channels[0]) <= settings["channels"] <= int(channels[1])
            assert int(sizes[0]) <= settings["size"] <= int(sizes[1])


def test_a_run_is_continued_and_reported(tmp_path, monkeypatch):
    out = tmp_path / "sweep.md"
    run = functools.partial(command.sweep, 1, 0, out, smoke=True)
    monkeypatch.setattr(measure, "TURN", 0)
    first = "".join(run())
    lines = out.with_suffix(".jsonl").read_text().splitlines()
    assert {json.loads(line)[0] for line in lines} == set(measure.OPERATIONS)
    out.with_suffix(".jsonl").write_text("\n".join(lines[:-1]) + "\n")
    measured = []
    times = {"jaxnets": [1.0], "jax": [2.0], "pytorch": [4.0]}
    monkeypatch.setattr(measure, "measure", lambda cell, rounds: measured.append(cell) or times)
    second = "".join(run())
    assert [cell.operation for cell in measured] == ["recurrent"]
    assert "| recurrent | 1 | 0.50 (0.50, 0.50) | 0 | 0.25 (0.25, 0.25) | 100% |" in second
    unchanged = [line for line in first.splitlines() if line.startswith("| product |")]
    assert unchanged == [line for line in second.splitlines() if line.startswith("| product |")]
    assert out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_a_cell_slower_than_plain_jax_is_measured_again(monkeypatch):
    asked = []

    def time_calls(calls, rounds):
        asked.append(rounds)
        return {"jaxnets": [1.2] * rounds, "jax": [1.0] * rounds, "pytorch": [1.0] * rounds}

    monkeypatch.setattr(measure, "time_calls", time_calls)
    found = measure.measure(Cell("product", "", "", SETTINGS["product"]), 2)
    assert asked == [2, 6]
    assert len(found["jax"]) == 6


def test_ratios_are_of_medians_and_of_the_faster_layout():
    times = {"jaxnets": [3.0, 100, 3.0], "jax": [2.0, 2.0, 50], "pytorch": [9.0], "pytorch channels_last": [6.0]}
    assert report.ratios(times) == (1.5, 0.5)


def test_the_gru_of_pytorch_is_its_own():
    """`torch.gru` with the weights of the sweep, against `torch.nn.GRU`."""
    case = measure.OPERATIONS["recurrent"].case(**SETTINGS["recurrent"])
    generator = np.random.default_rng(0)
    arrays = {name: generator.normal(size=shape).astype(np.float32) for name, shape in case.shapes.items()}
    tensors = {name: torch.tensor(array.T if "kernel" in name else array) for name, array in arrays.items()}
    layer = torch.nn.GRU(3, 5, batch_first=True)
    second = torch.cat([torch.zeros(10), tensors["hidden_bias"]])
    weights = [tensors["input_kernel"], tensors["hidden_kernel"], tensors["bias"], second]
    with torch.no_grad():
        for parameter, weight in zip(layer.parameters(), weights, strict=True):
            parameter.copy_(weight)
        np.testing.assert_allclose(case.programs["pytorch"](**tensors), layer(tensors["x"])[0], atol=1e-6)
