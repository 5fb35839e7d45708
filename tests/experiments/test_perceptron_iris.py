"""The perceptron on irises: its data, the bound it is held to, and what it measures."""

import numpy as np
import pytest
from sklearn.datasets import load_iris

from experiments import perceptron_iris
from experiments.perceptron_iris import Bound, Config, Trace
from experiments.support.iris import two_irises


def test_the_flowers_are_all_of_two_species_each_once():
    (x, labels), (test_x, test_labels) = two_irises(3)
    assert (len(x), len(test_x), labels.sum(), test_labels.sum()) == (80, 20, 40, 10)
    raw = load_iris()
    theirs = np.column_stack([raw.data[:100, 0], raw.data[:100, 2], raw.target[:100]])
    ours = np.column_stack([np.concatenate([x, test_x]), np.concatenate([labels, test_labels])])
    np.testing.assert_allclose(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)], atol=1e-6)


def test_the_largest_margin_of_two_points_is_that_of_the_line_between_them():
    """(3, 1) with label 1 and -(1, 3) with label 0 are parted best along (1, 1), by 4 / sqrt 2."""
    bound = perceptron_iris.novikoff(np.array([[3.0, 1.0], [-1.0, -3.0]]), np.array([1, 0]))
    np.testing.assert_allclose(bound.direction, [np.sqrt(0.5)] * 2, rtol=1e-3)
    assert bound.margin == pytest.approx(4 / np.sqrt(2), rel=1e-3)
    assert bound.radius == pytest.approx(np.sqrt(10))
    assert bound.mistakes(np.zeros(2)) == pytest.approx(10 / 8, rel=1e-3)


def test_no_direction_has_a_larger_margin_on_irises():
    train, _ = two_irises(0)
    x = perceptron_iris.with_one(train[0])
    bound = perceptron_iris.novikoff(x, train[1])
    directions = (
        bound.direction + np.random.default_rng(0).normal(size=(2000, 3)) * np.geomspace(1e-3, 1, 2000)[:, None]
    )
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    margins = (np.where(train[1] == 1, 1, -1)[:, None] * x @ directions.T).min(axis=0)
    assert bound.margin > 0.4
    assert margins.max() < bound.margin * 1.001


def test_the_bound_from_any_start_is_the_last_number_of_mistakes_that_the_two_lengths_allow():
    bound = Bound(np.array([0.6, 0.8]), margin=0.3, radius=2.0)
    initial = np.random.default_rng(1).normal(size=(20, 2))
    numbers = np.arange(0, 200, 0.001)
    for weights, most in zip(initial, bound.mistakes(initial), strict=True):
        allowed = weights @ bound.direction + numbers * 0.3 <= np.sqrt(weights @ weights + numbers * 4)
        assert most == pytest.approx(numbers[allowed].max(), abs=2e-3)


def test_each_order_is_followed_as_it_was_learned():
    config = Config(orders=3, picks=2000)
    train, _ = two_irises(0)
    x = perceptron_iris.with_one(train[0])
    _, learned = perceptron_iris.learn_all(config, x, train[1], 1.0)
    trace = perceptron_iris.follow(config, x, train[1], orders=3)
    np.testing.assert_array_equal(trace.mistakes.sum(axis=1), learned.mistakes)
    np.testing.assert_allclose(trace.weights[:, -1], learned.params["kernel"][..., 0], rtol=1e-6)


def test_the_summary_of_xor_counts():
    mistakes = np.zeros((2, 20), bool)
    mistakes[0, :3] = mistakes[0, 19] = mistakes[1, 18:] = True
    weights = np.zeros((2, 20, 3))
    weights[1, 4] = [3, 0, 4]
    numbers = perceptron_iris.summarize_xor(Trace(weights, mistakes))
    assert numbers == {"mistakes": 3.0, "mistakes_in_last_tenth_least": 1.0, "longest_weights": 5.0}


def test_what_the_lecture_says_comes_out(tmp_path):
    metrics = perceptron_iris.run(Config(orders=20, picks=2000, xor_orders=5, out=tmp_path))["metrics"]
    for start in ("zero", "random"):
        assert metrics[start]["converged"] == 1
        assert metrics[start]["share_of_bound"] < 1
        assert metrics[start]["accuracy"] > 0.95
    assert metrics["zero"]["bound_least"] == pytest.approx(metrics["bound"]["mistakes"])
    assert metrics["xor"]["mistakes_in_last_tenth_least"] > 20
    assert metrics["xor"]["longest_weights"] < 8
    assert {path.name for path in tmp_path.glob("*.png")} == {"curves.png", "perceptron.png"}
