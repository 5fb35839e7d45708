"""The two pages beside the playground show the lecture's numbers, and what the library's functions compute."""

import base64

import jax
import numpy as np
import pytest

from jaxnets.models import PerceptronConfig, perceptron, perceptron_path
from jaxnets.playground.backprop import BackpropSettings, worked_example
from jaxnets.playground.logic import LESSONS, ThresholdSettings, threshold
from jaxnets.playground.rules import SETS, RuleSettings, learn
from jaxnets.random import subkey


@pytest.mark.parametrize("gate", LESSONS)
def test_the_lectures_weights_compute_the_gate_except_that_one_neuron_cannot_do_xor(gate):
    found = threshold(ThresholdSettings(gate))
    wrong = [row["inputs"] for row in found["rows"] if row["output"] != row["right"]]
    assert wrong == ([[1, 1]] if gate == "xor" else [])


def test_the_region_is_where_the_neuron_fires():
    found = threshold(ThresholdSettings("or", weights=(2.0, 0.0, 0.0), bias=-1.0))
    region = np.frombuffer(base64.b64decode(found["region"]), np.uint8).reshape(160, 160)
    line = -0.5 + (np.arange(160) + 0.5) / 80
    np.testing.assert_array_equal(region, np.broadcast_to(line > 0.5, (160, 160)))
    assert [row["sum"] for row in found["rows"]] == [-1.0, -1.0, 1.0, 1.0]
    layers = threshold(ThresholdSettings("xor_layers"))
    assert [row["hidden"] for row in layers["rows"]] == [[0, 0], [1, 0], [1, 0], [1, 1]]  # OR and AND


@pytest.mark.parametrize(("data", "seed"), [("or", 0), ("and", 3), ("clouds", 1), ("xor", 2)])
def test_the_perceptron_rule_by_hand(data, seed):
    """As the lecture writes it: w += x, w -= x or nothing."""
    settings = RuleSettings("perceptron", data, seed=seed, picks=60)
    found = learn(settings)
    w = np.array(found["start"]["weights"])
    for step in found["steps"]:
        x1, x2, label = found["points"][step["pick"]]
        x = np.array([x1, x2, 1.0])
        assert step["sum"] == pytest.approx(w @ x, abs=1e-4)
        if label == 1 and w @ x < 0:
            w, corrected = w + x, True
        elif label == 0 and w @ x >= 0:
            w, corrected = w - x, True
        else:
            corrected = False
        assert step["corrected"] == corrected
        np.testing.assert_allclose(step["weights"], w, atol=1e-4)
        says = [float(w @ (a, b, 1)) >= 0 for a, b, _ in found["points"]]
        assert step["wrong"] == sum(
            one != (label > 0) for one, (_, _, label) in zip(says, found["points"], strict=True)
        )


def test_the_picks_are_those_of_perceptron_path():
    settings = RuleSettings("perceptron", "and", seed=4, picks=30)
    places, labels = SETS["and"]()
    x = np.concatenate([places, np.ones((4, 1), np.float32)], axis=1)
    key = jax.random.key(4)
    params, _ = perceptron(PerceptronConfig(3)).init(subkey(key, "init"))
    path, mistakes = perceptron_path(params, x, labels, key=key, picks=30)
    steps = learn(settings)["steps"]
    np.testing.assert_array_equal([step["corrected"] for step in steps], mistakes)
    np.testing.assert_allclose([step["weights"] for step in steps], path["kernel"][..., 0], rtol=1e-6)


def test_separable_points_are_learned_and_xor_is_not():
    for data in ("or", "and", "clouds"):
        assert learn(RuleSettings(data=data, picks=400))["steps"][-1]["wrong"] == 0
    assert min(step["wrong"] for step in learn(RuleSettings(data="xor", picks=400))["steps"]) > 0


def test_the_delta_rule_by_hand_and_where_it_ends():
    """w + rate (target - y) x; with a small rate near the least squares of the points."""
    found = learn(RuleSettings("delta", "or", learning_rate=0.1, picks=50))
    w = np.array(found["start"]["weights"])
    for step in found["steps"]:
        x1, x2, label = found["points"][step["pick"]]
        x = np.array([x1, x2, 1.0])
        w = w + 0.1 * ((2 * label - 1) - w @ x) * x
        np.testing.assert_allclose(step["weights"], w, atol=1e-4)
    points = np.array(learn(RuleSettings("delta", "clouds"))["points"])
    x, targets = np.column_stack([points[:, :2], np.ones(len(points))]), 2 * points[:, 2] - 1
    least = np.linalg.lstsq(x, targets, rcond=None)[1][0] / len(points) / 2
    last = learn(RuleSettings("delta", "clouds", learning_rate=0.01, picks=400))["steps"][-1]
    assert least < last["loss"] < 1.3 * least


def test_the_worked_backpropagation_has_the_lectures_numbers():
    found = worked_example(BackpropSettings())
    values = found["values"]
    rounded = {name: round(values[name], 3) for name in ("h1", "h2", "y", "error", "delta")}
    assert rounded == {"h1": 0.85, "h2": 0.48, "y": 0.191, "error": 0.327, "delta": -0.809}
    new = [round(values[f"new w{number}"], 2) for number in range(1, 7)]
    assert new == [0.12, 0.23, 0.13, 0.1, 0.17, 0.17]
    assert round(values["next y"], 2) == 0.26
    np.testing.assert_allclose(found["by_hand"], found["by_jax"], rtol=1e-5)
    lines = {step["name"]: step["numbers"] for step in found["steps"]}
    assert lines["h1"] == "2 · 0.11 + 3 · 0.21"
    assert lines["gradient w1"] == "(−0.809) · 0.14 · 2"
    assert lines["new w5"] == "0.14 − 0.05 · (−0.6876)"


@pytest.mark.parametrize(
    ("settings", "values", "words"),
    [
        (ThresholdSettings, {"gate": "nand"}, "gate must be one of and, or"),
        (ThresholdSettings, {"weights": [1, 2]}, "weights must be three numbers from -10 to 10"),
        (ThresholdSettings, {"bias": 11}, "bias must be from -10 to 10"),
        (RuleSettings, {"picks": 100_000}, "picks must be from 1 to 400"),
        (RuleSettings, {"learning_rate": 0}, "learning_rate must be above 0"),
        (BackpropSettings, {"inputs": [1, 2, 3]}, "inputs must be 2 numbers from -100 to 100"),
        (BackpropSettings, {"weights": [1e9] * 6}, "weights must be 6 numbers"),
    ],
)
def test_what_lessons_refuse(settings, values, words):
    with pytest.raises(ValueError, match=words):
        settings.from_dict(values)
