"""ADALINE on irises against scikit-learn's least squares, and each of its steps."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from experiments import adaline_iris
from experiments.adaline_iris import Config


def test_gradient_descent_comes_to_least_squares_which_needs_no_threshold():
    train, _ = adaline_iris.standardized(1)
    weights = adaline_iris.learn(Config(epochs=300), train, [1.0], 1, batch_size=80)
    fitted = LinearRegression().fit(train[0], train[1])
    assert abs(fitted.intercept_) < 1e-6
    np.testing.assert_allclose(weights[0, 0, -1], fitted.coef_, atol=1e-5)


def test_each_step_is_the_delta_rule_by_one_flower():
    train, _ = adaline_iris.standardized(0)
    weights = adaline_iris.learn(Config(epochs=2), train, [0.1, 0.01], 2, batch_size=1)
    assert weights.shape == (2, 2, 160, 2)
    x, targets = train[0].astype(np.float64), train[1]
    before = np.concatenate([[adaline_iris.INITIAL], weights[1, 1, :-1]])
    candidates = before[:, None] + 0.01 * (targets - before @ x.T)[..., None] * x
    away = np.abs(candidates - weights[1, 1][:, None]).max(axis=-1)
    assert away.min(axis=1).max() < 1e-6
    assert len(np.unique(away[:80].argmin(axis=1))) > 60  # some flowers have the same lengths
    assert np.abs(weights[1, 0, 79] - weights[1, 1, 79]).max() > 1e-4  # another order


def test_what_is_reported_is_the_distance_to_least_squares():
    train, test = adaline_iris.standardized(0)
    best = LinearRegression().fit(train[0], train[1]).coef_
    ends = np.stack([best, 1.5 * best])
    numbers = adaline_iris.summarize("both", ends, best, train, test)
    assert numbers["distance"] == pytest.approx(0.25)
    assert numbers["distance_sd"] == pytest.approx(np.std([0, 0.5], ddof=1))
    errors = [np.mean((train[0] @ end - train[1]) ** 2) for end in ends]
    assert numbers["excess_loss"] == pytest.approx(np.mean(errors) / errors[0] - 1, rel=1e-3)
    assert numbers["accuracy"] == 1


def test_a_smaller_rate_ends_nearer(tmp_path):
    config = Config(epochs=60, learning_rates=(0.1, 0.01), orders=20, out=tmp_path)
    metrics = adaline_iris.run(config)["metrics"]
    assert 3 * metrics["rate 0.01"]["distance"] < metrics["rate 0.1"]["distance"] < 0.2
    assert metrics["all flowers a step"]["distance"] < 1e-4
    assert {path.name for path in tmp_path.glob("*.png")} == {"curves.png", "error_surfaces.png"}
